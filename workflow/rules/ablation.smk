# What is each part worth? Arms that differ in one thing, on the first target speakers; adapters made smaller
# afterwards; encoder outputs. `snakemake ablation` makes them; `all` does not.


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
        table="<results>/tables/ablation.csv",
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
        cpus_per_task=threads_of("ablation_table"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        results=results_folder,
        speakers=lambda wildcards: list(first_speakers().values()),
        seeds=lambda wildcards: config["seeds"],
        arms=lambda wildcards: json.dumps({arm: ARMS[arm] for arm in ablation_arms()}),
        questions=lambda wildcards: json.dumps(config["ablation"]["questions"]),
        reference=ablation_reference,
        folder=lambda wildcards, output: os.path.dirname(output.figure),
        pages=lambda wildcards, output: os.path.dirname(output.page),
        settings=settings("scoring"),
    message:
        "Putting the arms of the ablation side by side"
    shell:
        "saml ablation {params.run:q}"
        " --results {params.results:q}"
        " --speakers {params.speakers:q}"
        " --seeds {params.seeds:q}"
        " --arms {params.arms:q}"
        " --questions {params.questions:q}"
        " {params.reference:q}"
        " --ablation {output.table:q}"
        " --pages {params.pages:q}"
        " --output-dir {params.folder:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


# --- smaller adapters


rule prune:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter="<results>/speakers/{speaker}/{arm}/seed{seed}/adapter.safetensors",
        adapter_description="<results>/speakers/{speaker}/{arm}/seed{seed}/adapter.json",
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
    output:
        adapter="<results>/pruned/{kept}/speakers/{speaker}/{arm}/seed{seed}/adapter.safetensors",
        description="<results>/pruned/{kept}/speakers/{speaker}/{arm}/seed{seed}/adapter.json",
        record="<results>/pruned/{kept}/speakers/{speaker}/{arm}/seed{seed}/pruning.jsonl",
    log:
        "<logs>/prune/{kept}/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/prune/{kept}/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED),
    conda:
        "../../environment.yaml"
    threads: threads_of("prune")
    resources:
        cpus_per_task=threads_of("prune"),
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        kept=lambda wildcards: ["--collapse"] if wildcards.kept == COLLAPSED else ["--keep", wildcards.kept],
    message:
        "Pruning {wildcards.arm} of {wildcards.speaker}, seed {wildcards.seed}: {wildcards.kept}"
    shell:
        "saml prune {params.run:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " --adapter {input.adapter:q}"
        " --adapter-description {input.adapter_description:q}"
        " --cuts {input.cuts:q}"
        " --splits {input.splits:q}"
        " {params.kept:q}"
        " --out-adapter {output.adapter:q}"
        " --out-description {output.description:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " > {log:q} 2>&1"


# The speaker's test part alone: held-out speakers' speech is no question here.
use rule decode as decode_pruned with:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter="<results>/pruned/{kept}/speakers/{speaker}/{arm}/seed{seed}/adapter.safetensors",
        adapter_description="<results>/pruned/{kept}/speakers/{speaker}/{arm}/seed{seed}/adapter.json",
        adaptation="<results>/pruned/{kept}/speakers/{speaker}/{arm}/seed{seed}/pruning.jsonl",
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
    output:
        hypotheses="<results>/pruned/{kept}/speakers/{speaker}/{arm}/seed{seed}/hypotheses.jsonl",
        record="<results>/pruned/{kept}/speakers/{speaker}/{arm}/seed{seed}/run.jsonl",
    log:
        "<logs>/decode_pruned/{kept}/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/decode_pruned/{kept}/{speaker}/{arm}/seed{seed}.tsv"
    message:
        "Decoding {wildcards.speaker} with {wildcards.arm} pruned to {wildcards.kept}, seed {wildcards.seed}"


rule pruning:
    input:
        hypotheses=pruning_files("hypotheses.jsonl"),
        adapters=pruning_files("adapter.safetensors"),
        descriptions=pruning_files("adapter.json"),
    output:
        table="<results>/tables/pruning.csv",
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
        cpus_per_task=threads_of("pruning"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        results=results_folder,
        speakers=lambda wildcards: list(first_speakers().values()),
        seeds=lambda wildcards: config["seeds"],
        arms=lambda wildcards: json.dumps({arm: ARMS[arm] for arm in config["ablation"]["pruning"]}),
        folder=lambda wildcards, output: os.path.dirname(output.figure),
        pages=lambda wildcards, output: os.path.dirname(output.page),
        settings=settings("scoring"),
    message:
        "Drawing what fewer experts come to"
    shell:
        "saml pruning {params.run:q}"
        " --results {params.results:q}"
        " --speakers {params.speakers:q}"
        " --seeds {params.seeds:q}"
        " --arms {params.arms:q}"
        " --pruning {output.table:q}"
        " --pages {params.pages:q}"
        " --output-dir {params.folder:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


# --- encoder outputs


rule encode:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter=adapted_file("adapter.safetensors"),
        adapter_description=adapted_file("adapter.json"),
        pretrained=pretrained("adapter.safetensors"),
        pretrained_description=pretrained("adapter.json"),
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
    output:
        embeddings="<results>/embeddings/{speaker}/{arm}/seed{seed}/embeddings.csv",
        record="<results>/embeddings/{speaker}/{arm}/seed{seed}/run.jsonl",
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
        cpus_per_task=threads_of("encode"),
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        speaker=speaker,
        adapters=those_of("adapter", "adapter-description", "pretrained", "pretrained-description"),
        settings=settings("arm"),
    message:
        "Encoding {wildcards.speaker} with {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "saml encode {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --speaker={params.speaker:q}"
        " --seed {wildcards.seed:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " {params.adapters:q}"
        " --cuts {input.cuts:q}"
        " --splits {input.splits:q}"
        " --embeddings {output.embeddings:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule embeddings:
    input:
        embeddings=all_encodings,
    output:
        table="<results>/tables/embeddings.csv",
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
        cpus_per_task=threads_of("embeddings"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        results=results_folder,
        speakers=lambda wildcards: list(first_speakers().values()),
        seeds=lambda wildcards: config["seeds"],
        arms=lambda wildcards: json.dumps({arm: ARMS[arm] for arm in config["ablation"]["embeddings"]}),
        folder=lambda wildcards, output: os.path.dirname(output.figure),
        pages=lambda wildcards, output: os.path.dirname(output.page),
        settings=settings("scoring.seed"),
    message:
        "Drawing encoder outputs"
    shell:
        "saml embeddings {params.run:q}"
        " --results {params.results:q}"
        " --speakers {params.speakers:q}"
        " --seeds {params.seeds:q}"
        " --arms {params.arms:q}"
        " --silhouettes {output.table:q}"
        " --pages {params.pages:q}"
        " --output-dir {params.folder:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
