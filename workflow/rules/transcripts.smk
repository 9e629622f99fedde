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
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=lambda wildcards: config["target_speakers"],
        seeds=config["seeds"],
        arms=lambda wildcards: entries_of(config["run_arms"]),
        settings=readable_settings("transcripts"),
    message:
        "Writing transcripts"
    shell:
        command("transcripts")
