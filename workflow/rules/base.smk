# The recogniser that everything starts from: trained on the pool `base`, or given as a checkpoint.

if GIVEN_BASE:

    # The checkpoint's files are no inputs: their place differs from machine to machine, and another place would run
    # everything again. A changed checkpoint is named in a warning instead, as a changed corpus is.
    rule import_base:
        output:
            out_weights=f"{BASE}/model.safetensors",
            out_description=f"{BASE}/model.json",
            tokeniser=f"{BASE}/tokenizer.json",
            record=f"{BASE}/run.jsonl",
        log:
            "<logs>/import_base.log",
        benchmark:
            "<benchmarks>/import_base.tsv"
        conda:
            "../../environment.yaml"
        threads: threads_of("import_base")
        resources:
            mem_mb=growing(3000),
            runtime=growing(30),
        params:
            settings=settings("import-base"),
        message:
            "Taking over the base model"
        shell:
            command("import-base")

else:

    rule train_base:
        input:
            cuts=f"{BASE_POOL}/cuts.jsonl.gz",
            features=f"{BASE_POOL}/features.bin",
        output:
            out_weights=f"{BASE}/model.safetensors",
            out_description=f"{BASE}/model.json",
            tokeniser=f"{BASE}/tokenizer.json",
            record=f"{BASE}/run.jsonl",
        log:
            "<logs>/train_base.log",
        benchmark:
            "<benchmarks>/train_base.tsv"
        conda:
            "../../environment.yaml"
        threads: threads_of("train_base")
        resources:
            gpu=GPUS,
            mem_mb=growing(3000),
            runtime=growing(720),
        params:
            settings=settings("train-base"),
            work=f"{WORK}/train_base",
        message:
            "Training the base model; how far it is: {log}"
        shell:
            command("train-base")
