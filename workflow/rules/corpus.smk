# Speech to manifests, cuts and features: the corpus once, then one job a pool and one a target speaker.


rule prepare_corpus:
    output:
        recordings="results/{experiment}/data/corpus/recordings.jsonl.gz",
        supervisions="results/{experiment}/data/corpus/supervisions.jsonl.gz",
        dropped="results/{experiment}/data/corpus/dropped.tsv",
        audio=directory("results/{experiment}/data/corpus/audio"),
        record="results/{experiment}/data/corpus/run.jsonl",
    log:
        "results/{experiment}/logs/prepare_corpus.log",
    benchmark:
        "results/{experiment}/benchmarks/prepare_corpus.tsv"
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
        recordings="results/{experiment}/data/corpus/recordings.jsonl.gz",
        supervisions="results/{experiment}/data/corpus/supervisions.jsonl.gz",
        audio="results/{experiment}/data/corpus/audio",
    output:
        cuts="results/{experiment}/data/pools/{role}/cuts.jsonl.gz",
        features="results/{experiment}/data/pools/{role}/features.bin",
        dropped="results/{experiment}/data/pools/{role}/dropped.tsv",
        record="results/{experiment}/data/pools/{role}/run.jsonl",
    log:
        "results/{experiment}/logs/prepare_pool/{role}.log",
    benchmark:
        "results/{experiment}/benchmarks/prepare_pool/{role}.tsv"
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
        recordings="results/{experiment}/data/corpus/recordings.jsonl.gz",
        supervisions="results/{experiment}/data/corpus/supervisions.jsonl.gz",
        audio="results/{experiment}/data/corpus/audio",
    output:
        cuts="results/{experiment}/data/speakers/{speaker}/cuts.jsonl.gz",
        features="results/{experiment}/data/speakers/{speaker}/features.bin",
        splits="results/{experiment}/data/speakers/{speaker}/splits.json",
        dropped="results/{experiment}/data/speakers/{speaker}/dropped.tsv",
        audio=directory("results/{experiment}/data/speakers/{speaker}/audio"),
        record="results/{experiment}/data/speakers/{speaker}/run.jsonl",
    log:
        "results/{experiment}/logs/prepare_speaker/{speaker}.log",
    benchmark:
        "results/{experiment}/benchmarks/prepare_speaker/{speaker}.tsv"
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
