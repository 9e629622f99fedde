# The base model in NF4.


rule quantise:
    input:
        weights=f"{BASE}/model.safetensors",
        description=f"{BASE}/model.json",
        tokeniser=f"{BASE}/tokenizer.json",
    output:
        out_weights=f"{NF4}/model.safetensors",
        out_description=f"{NF4}/model.json",
        tokeniser=f"{NF4}/tokenizer.json",
        record=f"{NF4}/run.jsonl",
    log:
        "<logs>/quantise.log",
    benchmark:
        "<benchmarks>/quantise.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("quantise")
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=settings("quantise"),
    message:
        "Quantising the base model"
    shell:
        command("quantise")
