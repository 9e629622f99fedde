# The recogniser that everything starts from: trained on the pool `base`, or given as a checkpoint.

if GIVEN_BASE:

    # The checkpoint's files are no inputs: their place differs from machine to machine, and another place would run
    # everything again. A changed checkpoint is named in a warning instead, as a changed corpus is.
    rule import_base:
        output:
            weights="<results>/models/base/model.safetensors",
            description="<results>/models/base/model.json",
            record="<results>/models/base/run.jsonl",
        log:
            "<logs>/import_base.log",
        benchmark:
            "<benchmarks>/import_base.tsv"
        conda:
            "../../environment.yaml"
        threads: threads_of("import_base")
        resources:
            cpus_per_task=threads_of("import_base"),
            mem_mb=growing(3000),
            runtime=growing(30),
        params:
            run=RUN,
            settings=settings("model"),
        message:
            "Taking over the base model"
        shell:
            "saml import-base {params.run:q}"
            " --out-weights {output.weights:q}"
            " --out-description {output.description:q}"
            " --record {output.record:q}"
            " --threads {resources.cpus_per_task}"
            " --settings {params.settings:q}"
            " > {log:q} 2>&1"

else:

    rule train_base:
        input:
            cuts="<results>/data/pools/base/cuts.jsonl.gz",
            features="<results>/data/pools/base/features.bin",
        output:
            weights="<results>/models/base/model.safetensors",
            description="<results>/models/base/model.json",
            record="<results>/models/base/run.jsonl",
        log:
            "<logs>/train_base.log",
        benchmark:
            "<benchmarks>/train_base.tsv"
        conda:
            "../../environment.yaml"
        threads: threads_of("train_base")
        resources:
            cpus_per_task=threads_of("train_base"),
            gpu=GPUS,
            checkpoint_seconds=CHECKPOINT_SECONDS,
            mem_mb=growing(3000),
            runtime=growing(720),
        params:
            run=RUN,
            settings=settings("model", "base_training"),
            work=f"{RESULTS}/.work/train_base",
        message:
            "Training the base model; how far it is: {log}"
        shell:
            "saml train-base {params.run:q}"
            " --cuts {input.cuts:q}"
            " --out-weights {output.weights:q}"
            " --out-description {output.description:q}"
            " --record {output.record:q}"
            " --work {params.work:q}"
            " --checkpoint-seconds {resources.checkpoint_seconds}"
            " --threads {resources.cpus_per_task}"
            " --settings {params.settings:q}"
            " > {log:q} 2>&1"
