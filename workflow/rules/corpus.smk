# Speech to manifests, cuts and features: the corpus once, then one job a pool and one a target speaker.


rule prepare_corpus:
    output:
        recordings=f"{CORPUS}/recordings.jsonl.gz",
        supervisions=f"{CORPUS}/supervisions.jsonl.gz",
        dropped=f"{CORPUS}/dropped.tsv",
        audio=directory(f"{CORPUS}/audio"),
        record=f"{CORPUS}/run.jsonl",
    log:
        "<logs>/prepare_corpus.log",
    benchmark:
        "<benchmarks>/prepare_corpus.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("prepare_corpus")
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        settings=settings("prepare-corpus"),
    message:
        "Preparing the corpus"
    shell:
        command("prepare-corpus")


rule prepare_pool:
    input:
        recordings=f"{CORPUS}/recordings.jsonl.gz",
        supervisions=f"{CORPUS}/supervisions.jsonl.gz",
        audio=f"{CORPUS}/audio",
    output:
        cuts=f"{POOL}/cuts.jsonl.gz",
        features=f"{POOL}/features.bin",
        dropped=f"{POOL}/dropped.tsv",
        record=f"{POOL}/run.jsonl",
    log:
        "<logs>/prepare_pool/{role}.log",
    benchmark:
        "<benchmarks>/prepare_pool/{role}.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("prepare_pool")
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        settings=pool_settings,
    message:
        "Features of the pool {wildcards.role}"
    shell:
        command("prepare-pool")


rule prepare_speaker:
    input:
        known_speaker,
        recordings=f"{CORPUS}/recordings.jsonl.gz",
        supervisions=f"{CORPUS}/supervisions.jsonl.gz",
        audio=f"{CORPUS}/audio",
    output:
        cuts=f"{SPEECH}/cuts.jsonl.gz",
        features=f"{SPEECH}/features.bin",
        splits=f"{SPEECH}/splits.json",
        dropped=f"{SPEECH}/dropped.tsv",
        audio=directory(f"{SPEECH}/audio"),
        record=f"{SPEECH}/run.jsonl",
    log:
        "<logs>/prepare_speaker/{speaker}.log",
    benchmark:
        "<benchmarks>/prepare_speaker/{speaker}.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("prepare_speaker")
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=speaker,
        settings=speaker_settings,
    message:
        "Features and parts of {wildcards.speaker}"
    shell:
        command("prepare-speaker")
