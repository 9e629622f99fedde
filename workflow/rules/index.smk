# The front page of the results. It links what is there when it is made, so it is made after everything that `all` makes.


rule index:
    input:
        tables=table_files,
        figures=figure_files,
        transcripts=expand("<results>/{file}", file=TRANSCRIPTS),
        hypotheses=all_hypotheses,
        cuts=expand(f"{SPEECH}/cuts.jsonl.gz", speaker=SPEAKERS),
        summary="<results>/tables/summary.csv",
        wer="<results>/tables/wer.csv",
    output:
        index="<results>/index.html",
        key=report(
            "<results>/pages/key.html",
            caption="../report/key.rst",
            category="1 Word error rates",
            labels={"what": "Key number and figure"},
        ),
        speakers=expand("<results>/pages/speakers/{speaker}.html", speaker=SPEAKERS),
        record="<results>/pages/run.jsonl",
    log:
        "<logs>/index.log",
    benchmark:
        "<benchmarks>/index.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("index")
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        arms=config["run_arms"],
        speakers=lambda wildcards: config["target_speakers"],
        seeds=config["seeds"],
    message:
        "Writing the front page of the results"
    shell:
        command("index")
