# Texts and errors in the forms that other tools read: sclite's and icefall's.


rule transcripts:
    input:
        hypotheses=all_hypotheses,
    output:
        files=expand("<results>/{file}", file=TRANSCRIPTS),
        record="<results>/transcripts/run.jsonl",
    log:
        "<logs>/transcripts.log",
    benchmark:
        "<benchmarks>/transcripts.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("transcripts")
    resources:
        cpus_per_task=threads_of("transcripts"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        results=results_folder,
        speakers=lambda wildcards: config["target_speakers"],
        seeds=lambda wildcards: config["seeds"],
        arms=lambda wildcards: json.dumps({arm: ARMS[arm] for arm in config["run_arms"]}),
        folder=lambda wildcards, output: os.path.dirname(output.record),
        settings=settings("scoring.scorers", "scoring.error_stats"),
    message:
        "Writing transcripts"
    shell:
        "saml transcripts {params.run:q}"
        " --results {params.results:q}"
        " --speakers {params.speakers:q}"
        " --seeds {params.seeds:q}"
        " --arms {params.arms:q}"
        " --transcripts {params.folder:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
