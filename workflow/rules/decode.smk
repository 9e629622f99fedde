# Hypotheses with their error counts: of each target speaker, and of held-out speakers. An adapted model decodes both in
# one job; a model without adaptation (seed 0) decodes held-out speakers once, in a job of its own.


rule decode:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter=only_for(ADAPTED_ARMS, f"{ADAPTED}/adapter.safetensors"),
        adapter_description=only_for(ADAPTED_ARMS, f"{ADAPTED}/adapter.json"),
        adaptation_record=only_for(ADAPTED_ARMS, f"{ADAPTED}/adaptation.jsonl"),
        cuts=f"{SPEECH}/cuts.jsonl.gz",
        features=f"{SPEECH}/features.bin",
        splits=f"{SPEECH}/splits.json",
        heldout_cuts=only_for(ADAPTED_ARMS, f"{HELDOUT_POOL}/cuts.jsonl.gz"),
        heldout_features=only_for(ADAPTED_ARMS, f"{HELDOUT_POOL}/features.bin"),
    output:
        hypotheses=f"{ADAPTED}/hypotheses.jsonl",
        record=f"{ADAPTED}/run.jsonl",
    log:
        "<logs>/decode/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/decode/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        speaker=ALONE,
        seed="[0-9]+",
    conda:
        "../../environment.yaml"
    threads: threads_of("decode")
    resources:
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        speakers=speaker,
        settings=settings("decode"),
    message:
        "Decoding {wildcards.speaker} with {wildcards.arm}, seed {wildcards.seed}"
    shell:
        command("decode")


rule decode_heldout:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        heldout_cuts=f"{HELDOUT_POOL}/cuts.jsonl.gz",
        heldout_features=f"{HELDOUT_POOL}/features.bin",
        cuts=[],
        splits=[],
        adapter=[],
        adapter_description=[],
        adaptation_record=[],
    output:
        hypotheses=f"{HELDOUT}/hypotheses.jsonl",
        record=f"{HELDOUT}/run.jsonl",
    log:
        "<logs>/decode_heldout/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/decode_heldout/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(UNADAPTED_ARMS),
        seed="0",
    conda:
        "../../environment.yaml"
    threads: threads_of("decode_heldout")
    resources:
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        speakers=[],
        settings=settings("decode"),
    message:
        "Decoding held-out speakers with {wildcards.arm}"
    shell:
        command("decode")
