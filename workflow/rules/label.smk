# Labels in the style of the base model, which adapters are trained on where `model.whisper.text_style` is `model`.


rule label_pool:
    input:
        weights=f"{BASE}/model.safetensors",
        description=f"{BASE}/model.json",
        cuts=f"{PRETRAIN_POOL}/cuts.jsonl.gz",
        features=f"{PRETRAIN_POOL}/features.bin",
    output:
        labelled=f"{PRETRAIN_POOL}/labelled.jsonl.gz",
        record=f"{PRETRAIN_POOL}/labels/run.jsonl",
    log:
        "<logs>/label_pool.log",
    benchmark:
        "<benchmarks>/label_pool.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("label")
    resources:
        gpu=GPUS,
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        whose="pretrain",
        settings=settings("label"),
    message:
        "Labels in the model's style for the pool pretrain"
    shell:
        command("label")


use rule label_pool as label_speaker with:
    input:
        weights=f"{BASE}/model.safetensors",
        description=f"{BASE}/model.json",
        cuts=f"{SPEECH}/cuts.jsonl.gz",
        features=f"{SPEECH}/features.bin",
    output:
        labelled=f"{SPEECH}/labelled.jsonl.gz",
        record=f"{SPEECH}/labels/run.jsonl",
    log:
        "<logs>/label_speaker/{speaker}.log",
    benchmark:
        "<benchmarks>/label_speaker/{speaker}.tsv"
    params:
        whose=speaker,
        settings=settings("label"),
    message:
        "Labels in the model's style for {wildcards.speaker}"
