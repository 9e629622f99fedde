# Hypotheses with their error counts: adapted models on their speaker and on others, the two bare models on both once.


rule decode:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter="<results>/speakers/{speaker}/{arm}/seed{seed}/adapter.safetensors",
        adapter_description="<results>/speakers/{speaker}/{arm}/seed{seed}/adapter.json",
        adaptation="<results>/speakers/{speaker}/{arm}/seed{seed}/adaptation.jsonl",
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
        heldout_cuts="<results>/data/pools/heldout/cuts.jsonl.gz",
        heldout_features="<results>/data/pools/heldout/features.bin",
    output:
        hypotheses="<results>/speakers/{speaker}/{arm}/seed{seed}/hypotheses.jsonl",
        record="<results>/speakers/{speaker}/{arm}/seed{seed}/run.jsonl",
    log:
        "<logs>/decode/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/decode/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED),
    conda:
        "../../environment.yaml"
    threads: threads_of("decode")
    resources:
        cpus_per_task=threads_of("decode"),
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        run=RUN,
        speaker=speaker,
        heldout=given("heldout-cuts", "heldout_cuts"),
        settings=settings("arm", "decoding", "scoring.scorers"),
    message:
        "Decoding {wildcards.speaker} with {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "saml decode {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --speaker={params.speaker:q}"
        " --seed {wildcards.seed:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " --adapter {input.adapter:q}"
        " --adapter-description {input.adapter_description:q}"
        " --adaptation-record {input.adaptation:q}"
        " --cuts {input.cuts:q}"
        " --splits {input.splits:q}"
        " {params.heldout:q}"
        " --hypotheses {output.hypotheses:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule decode_unadapted:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
    output:
        hypotheses="<results>/speakers/{speaker}/{arm}/seed0/hypotheses.jsonl",
        record="<results>/speakers/{speaker}/{arm}/seed0/run.jsonl",
    log:
        "<logs>/decode_unadapted/{speaker}/{arm}.log",
    benchmark:
        "<benchmarks>/decode_unadapted/{speaker}/{arm}.tsv"
    wildcard_constraints:
        arm=one_of(UNADAPTED),
    conda:
        "../../environment.yaml"
    threads: threads_of("decode_unadapted")
    resources:
        cpus_per_task=threads_of("decode_unadapted"),
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        run=RUN,
        speaker=speaker,
        settings=settings("arm", "decoding", "scoring.scorers"),
    message:
        "Decoding {wildcards.speaker} with {wildcards.arm}"
    shell:
        "saml decode {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --speaker={params.speaker:q}"
        " --seed 0"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " --cuts {input.cuts:q}"
        " --splits {input.splits:q}"
        " --hypotheses {output.hypotheses:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule decode_heldout:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        heldout_cuts="<results>/data/pools/heldout/cuts.jsonl.gz",
        heldout_features="<results>/data/pools/heldout/features.bin",
    output:
        hypotheses="<results>/heldout/{arm}/seed0/hypotheses.jsonl",
        record="<results>/heldout/{arm}/seed0/run.jsonl",
    log:
        "<logs>/decode_heldout/{arm}.log",
    benchmark:
        "<benchmarks>/decode_heldout/{arm}.tsv"
    wildcard_constraints:
        arm=one_of(UNADAPTED),
    conda:
        "../../environment.yaml"
    threads: threads_of("decode_heldout")
    resources:
        cpus_per_task=threads_of("decode_heldout"),
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        run=RUN,
        settings=settings("arm", "decoding", "scoring.scorers"),
    message:
        "Decoding held-out speakers' speech with {wildcards.arm}"
    shell:
        "saml decode {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --seed 0"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " --heldout-cuts {input.heldout_cuts:q}"
        " --hypotheses {output.hypotheses:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
