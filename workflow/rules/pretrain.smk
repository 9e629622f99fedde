# Adapters before they meet a target speaker: experts from one initial speaker each, then router and experts together.


rule initialise_experts:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts="<results>/data/pools/pretrain/cuts.jsonl.gz",
        features="<results>/data/pools/pretrain/features.bin",
    output:
        adapter="<results>/pretrained/{arm}/seed{seed}/experts/adapter.safetensors",
        description="<results>/pretrained/{arm}/seed{seed}/experts/adapter.json",
        record="<results>/pretrained/{arm}/seed{seed}/experts/run.jsonl",
    log:
        "<logs>/initialise_experts/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/initialise_experts/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(MIXTURES),
    conda:
        "../../environment.yaml"
    threads: threads_of("initialise_experts")
    resources:
        cpus_per_task=threads_of("initialise_experts"),
        gpu=GPUS,
        checkpoint_seconds=CHECKPOINT_SECONDS,
        mem_mb=growing(3000),
        runtime=growing(360),
    params:
        run=RUN,
        settings=settings("arm", "adapters", "pretraining", "initial_speakers"),
        work=f"{RESULTS}/.work/initialise_experts/{{arm}}/seed{{seed}}",
    message:
        "Initialising the experts of {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "saml initialise-experts {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --seed {wildcards.seed:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " --cuts {input.cuts:q}"
        " --out-adapter {output.adapter:q}"
        " --out-description {output.description:q}"
        " --record {output.record:q}"
        " --work {params.work:q}"
        " --checkpoint-seconds {resources.checkpoint_seconds}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule pretrain:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts="<results>/data/pools/pretrain/cuts.jsonl.gz",
        features="<results>/data/pools/pretrain/features.bin",
        start=experts("adapter.safetensors"),
        start_description=experts("adapter.json"),
    output:
        adapter="<results>/pretrained/{arm}/seed{seed}/adapter.safetensors",
        description="<results>/pretrained/{arm}/seed{seed}/adapter.json",
        record="<results>/pretrained/{arm}/seed{seed}/run.jsonl",
    log:
        "<logs>/pretrain/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/pretrain/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PRETRAINED),
    conda:
        "../../environment.yaml"
    threads: threads_of("pretrain")
    resources:
        cpus_per_task=threads_of("pretrain"),
        gpu=GPUS,
        checkpoint_seconds=CHECKPOINT_SECONDS,
        mem_mb=growing(3000),
        runtime=growing(360),
    params:
        run=RUN,
        start=starting_from("experts"),
        settings=settings("arm", "adapters", "pretraining", "initial_speakers"),
        work=f"{RESULTS}/.work/pretrain/{{arm}}/seed{{seed}}",
    message:
        "Pre-training {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "saml pretrain {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --seed {wildcards.seed:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " {params.start:q}"
        " --cuts {input.cuts:q}"
        " --out-adapter {output.adapter:q}"
        " --out-description {output.description:q}"
        " --record {output.record:q}"
        " --work {params.work:q}"
        " --checkpoint-seconds {resources.checkpoint_seconds}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
