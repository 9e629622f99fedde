# Speech to manifests, cuts and features: the corpus once, then one job a pool and one a target speaker.


rule prepare_corpus:
    output:
        recordings="<results>/data/corpus/recordings.jsonl.gz",
        supervisions="<results>/data/corpus/supervisions.jsonl.gz",
        dropped="<results>/data/corpus/dropped.tsv",
        audio=directory("<results>/data/corpus/audio"),
        record="<results>/data/corpus/run.jsonl",
    log:
        "<logs>/prepare_corpus.log",
    benchmark:
        "<benchmarks>/prepare_corpus.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("prepare_corpus")
    resources:
        cpus_per_task=threads_of("prepare_corpus"),
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        run=RUN,
        settings=settings("corpus"),
    message:
        "Preparing the corpus"
    shell:
        "saml prepare-corpus {params.run:q}"
        " --recordings {output.recordings:q}"
        " --supervisions {output.supervisions:q}"
        " --dropped {output.dropped:q}"
        " --audio {output.audio:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule prepare_pool:
    input:
        recordings="<results>/data/corpus/recordings.jsonl.gz",
        supervisions="<results>/data/corpus/supervisions.jsonl.gz",
        audio="<results>/data/corpus/audio",
    output:
        cuts="<results>/data/pools/{role}/cuts.jsonl.gz",
        features="<results>/data/pools/{role}/features.bin",
        dropped="<results>/data/pools/{role}/dropped.tsv",
        record="<results>/data/pools/{role}/run.jsonl",
    log:
        "<logs>/prepare_pool/{role}.log",
    benchmark:
        "<benchmarks>/prepare_pool/{role}.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("prepare_pool")
    resources:
        cpus_per_task=threads_of("prepare_pool"),
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        run=RUN,
        settings=pool_settings,
    message:
        "Features of the pool {wildcards.role}"
    shell:
        "saml prepare-pool {params.run:q}"
        " --role {wildcards.role:q}"
        " --recordings {input.recordings:q}"
        " --supervisions {input.supervisions:q}"
        " --cuts {output.cuts:q}"
        " --features {output.features:q}"
        " --dropped {output.dropped:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule prepare_speaker:
    input:
        known_speaker,
        recordings="<results>/data/corpus/recordings.jsonl.gz",
        supervisions="<results>/data/corpus/supervisions.jsonl.gz",
        audio="<results>/data/corpus/audio",
    output:
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
        dropped="<results>/data/speakers/{speaker}/dropped.tsv",
        audio=directory("<results>/data/speakers/{speaker}/audio"),
        record="<results>/data/speakers/{speaker}/run.jsonl",
    log:
        "<logs>/prepare_speaker/{speaker}.log",
    benchmark:
        "<benchmarks>/prepare_speaker/{speaker}.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("prepare_speaker")
    resources:
        cpus_per_task=threads_of("prepare_speaker"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        speaker=speaker,
        settings=settings("corpus", "model", "partition.scheme", "partition.folds", "partition.seed"),
    message:
        "Features and parts of {wildcards.speaker}"
    shell:
        "saml prepare-speaker {params.run:q}"
        " --speaker={params.speaker:q}"
        " --recordings {input.recordings:q}"
        " --supervisions {input.supervisions:q}"
        " --cuts {output.cuts:q}"
        " --features {output.features:q}"
        " --splits {output.splits:q}"
        " --dropped {output.dropped:q}"
        " --audio {output.audio:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
