# The ablation: arms that differ in one thing, on the first target speakers; pruned adapters; encoder outputs. `snakemake ablation` makes them; `all` does not.


rule ablation:
    input:
        ablation_files,
    message:
        "The ablation is complete"


rule ablation_table:
    input:
        hypotheses=ablation_hypotheses,
        shipped=ablation_shipped,
    output:
        ablation="<results>/tables/ablation.csv",
        page=report(
            "<results>/pages/ablation.html",
            caption="../report/ablation_table.rst",
            category="8 Ablation",
            labels={"what": "Table: WER by question and arm"},
        ),
        figure=report(
            "<results>/figures/ablation.svg",
            caption="../report/ablation.rst",
            category="8 Ablation",
            labels={"what": "Figure: WER by size, and by question"},
        ),
        picture="<results>/figures/ablation.png",
        record="<results>/tables/ablation/run.jsonl",
    log:
        "<logs>/ablation_table.log",
    benchmark:
        "<benchmarks>/ablation_table.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("ablation_table")
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=lambda wildcards: list(first_speakers().values()),
        seeds=config["seeds"],
        arms=lambda wildcards: entries_of(ablation_arms()),
        questions=lambda wildcards: configuration.readable(config["ablation"]["questions"]),
        reference=lambda wildcards: optional(config["ablation"]["reference"]),
        settings=readable_settings("ablation"),
    message:
        "Putting the arms of the ablation side by side"
    shell:
        command("ablation")


# --- smaller adapters


rule prune:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter=f"{ADAPTED}/adapter.safetensors",
        adapter_description=f"{ADAPTED}/adapter.json",
        cuts=f"{SPEECH}/cuts.jsonl.gz",
        features=f"{SPEECH}/features.bin",
        splits=f"{SPEECH}/splits.json",
    output:
        out_adapter=f"{PRUNED}/adapter.safetensors",
        out_description=f"{PRUNED}/adapter.json",
        record=f"{PRUNED}/pruning.jsonl",
    log:
        "<logs>/prune/{kept}/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/prune/{kept}/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED_ARMS),
    conda:
        "../../environment.yaml"
    threads: threads_of("prune")
    resources:
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        kept=lambda wildcards: ["--collapse"] if wildcards.kept == COLLAPSED else ["--keep", wildcards.kept],
    message:
        "Pruning {wildcards.arm} of {wildcards.speaker}, seed {wildcards.seed}: {wildcards.kept}"
    shell:
        f"exec saml prune {SAME_FOR_ALL}"
        " --weights {input.weights:q} --description {input.description:q}"
        " --adapter {input.adapter:q} --adapter-description {input.adapter_description:q}"
        " --cuts {input.cuts:q} --splits {input.splits:q}"
        " {params.kept:q}"
        " --out-adapter {output.out_adapter:q} --out-description {output.out_description:q}"
        " --record {output.record:q}"
        " > {log:q} 2>&1"


# The speaker's test part alone, without held-out speakers.
use rule decode as decode_pruned with:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter=f"{PRUNED}/adapter.safetensors",
        adapter_description=f"{PRUNED}/adapter.json",
        adaptation_record=f"{PRUNED}/pruning.jsonl",
        cuts=f"{SPEECH}/cuts.jsonl.gz",
        features=f"{SPEECH}/features.bin",
        splits=f"{SPEECH}/splits.json",
        heldout_cuts=[],
    output:
        hypotheses=f"{PRUNED}/hypotheses.jsonl",
        record=f"{PRUNED}/run.jsonl",
    log:
        "<logs>/decode_pruned/{kept}/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/decode_pruned/{kept}/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED_ARMS),
    message:
        "Decoding {wildcards.speaker} with {wildcards.arm} pruned to {wildcards.kept}, seed {wildcards.seed}"


rule pruning:
    input:
        hypotheses=pruning_files("hypotheses.jsonl"),
        adapters=pruning_files("adapter.safetensors"),
        descriptions=pruning_files("adapter.json"),
    output:
        pruning="<results>/tables/pruning.csv",
        page=report(
            "<results>/pages/pruning.html",
            caption="../report/pruning_table.rst",
            category="8 Ablation",
            labels={"what": "Table: WER by number of experts kept"},
        ),
        figure=report(
            "<results>/figures/pruning.svg",
            caption="../report/pruning.rst",
            category="8 Ablation",
            labels={"what": "Figure: WER by number of experts kept"},
        ),
        picture="<results>/figures/pruning.png",
        record="<results>/tables/pruning/run.jsonl",
    log:
        "<logs>/pruning.log",
    benchmark:
        "<benchmarks>/pruning.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("pruning")
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=lambda wildcards: list(first_speakers().values()),
        seeds=config["seeds"],
        arms=lambda wildcards: entries_of(config["ablation"]["pruning"]),
        settings=readable_settings("pruning"),
    message:
        "WER by number of experts kept"
    shell:
        command("pruning")


# --- encoder outputs


rule encode:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter=only_for(ADAPTED_ARMS, f"{ADAPTED}/adapter.safetensors"),
        adapter_description=only_for(ADAPTED_ARMS, f"{ADAPTED}/adapter.json"),
        pretrained=started(f"{PRETRAINED}/adapter.safetensors"),
        pretrained_description=started(f"{PRETRAINED}/adapter.json"),
        cuts=f"{SPEECH}/cuts.jsonl.gz",
        features=f"{SPEECH}/features.bin",
        splits=f"{SPEECH}/splits.json",
    output:
        embeddings=f"{EMBEDDINGS}/embeddings.csv",
        record=f"{EMBEDDINGS}/run.jsonl",
    log:
        "<logs>/encode/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/encode/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        seed="[0-9]+",
    conda:
        "../../environment.yaml"
    threads: threads_of("encode")
    resources:
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=speaker,
        settings=settings("encode"),
    message:
        "Encoding {wildcards.speaker} with {wildcards.arm}, seed {wildcards.seed}"
    shell:
        command("encode")


rule embeddings:
    input:
        embeddings=all_encodings,
    output:
        silhouettes="<results>/tables/embeddings.csv",
        page=report(
            "<results>/pages/embeddings.html",
            caption="../report/embeddings_table.rst",
            category="8 Ablation",
            labels={"what": "Table: does the encoder keep speakers apart?"},
        ),
        figure=report(
            "<results>/figures/embeddings.svg",
            caption="../report/embeddings.rst",
            category="8 Ablation",
            labels={"what": "Figure: encoder outputs by speaker (t-SNE)"},
        ),
        picture="<results>/figures/embeddings.png",
        record="<results>/tables/embeddings/run.jsonl",
    log:
        "<logs>/embeddings.log",
    benchmark:
        "<benchmarks>/embeddings.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("embeddings")
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=lambda wildcards: list(first_speakers().values()),
        seeds=config["seeds"],
        arms=lambda wildcards: entries_of(config["ablation"]["embeddings"]),
        settings=readable_settings("embeddings"),
    message:
        "Drawing encoder outputs"
    shell:
        command("embeddings")
