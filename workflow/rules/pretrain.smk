# Adapters before adaptation: experts from one initial speaker each, then router and experts together.


rule initialise_experts:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts=f"{PRETRAIN_POOL}/{TRAINING_CUTS}",
        features=f"{PRETRAIN_POOL}/features.bin",
    output:
        out_adapter=f"{EXPERTS}/adapter.safetensors",
        out_description=f"{EXPERTS}/adapter.json",
        record=f"{EXPERTS}/run.jsonl",
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
        gpu=GPUS,
        mem_mb=growing(TRAINING_MB),
        runtime=growing(360),
    params:
        settings=settings("initialise-experts"),
        trial=[],
        work=f"{WORK}/initialise_experts/{{arm}}/seed{{seed}}",
    message:
        "Initialising the experts of {wildcards.arm}, seed {wildcards.seed}"
    shell:
        command("initialise-experts")


rule pretrain:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts=f"{PRETRAIN_POOL}/{TRAINING_CUTS}",
        features=f"{PRETRAIN_POOL}/features.bin",
        experts=only_for(MIXTURES, f"{EXPERTS}/adapter.safetensors"),
        experts_description=only_for(MIXTURES, f"{EXPERTS}/adapter.json"),
    output:
        out_adapter=f"{PRETRAINED}/adapter.safetensors",
        out_description=f"{PRETRAINED}/adapter.json",
        record=f"{PRETRAINED}/run.jsonl",
    log:
        "<logs>/pretrain/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/pretrain/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PRETRAINED_ARMS),
    conda:
        "../../environment.yaml"
    threads: threads_of("pretrain")
    resources:
        gpu=GPUS,
        mem_mb=growing(TRAINING_MB),
        runtime=growing(360),
    params:
        settings=settings("pretrain"),
        trial=[],
        work=f"{WORK}/pretrain/{{arm}}/seed{{seed}}",
    message:
        "Pre-training {wildcards.arm}, seed {wildcards.seed}"
    shell:
        command("pretrain")
