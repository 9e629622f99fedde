# One adapter for each arm, target speaker and seed.


rule adapt:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts=f"{SPEECH}/{TRAINING_CUTS}",
        features=f"{SPEECH}/features.bin",
        splits=f"{SPEECH}/splits.json",
        adapter=started(f"{PRETRAINED}/adapter.safetensors"),
        adapter_description=started(f"{PRETRAINED}/adapter.json"),
    output:
        out_adapter=f"{ADAPTED}/adapter.safetensors",
        out_description=f"{ADAPTED}/adapter.json",
        record=f"{ADAPTED}/adaptation.jsonl",
    log:
        "<logs>/adapt/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/adapt/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED_ARMS),
        speaker=ALONE,
    conda:
        "../../environment.yaml"
    threads: threads_of("adapt")
    resources:
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        speakers=speaker,
        settings=settings("adapt"),
        trial=[],
        work=f"{WORK}/adapt/{{speaker}}/{{arm}}/seed{{seed}}",
    message:
        "Adapting {wildcards.arm} to {wildcards.speaker}, seed {wildcards.seed}"
    shell:
        command("adapt")
