# Tables and figures. These are the only rules that know all speakers, seeds and arms.


rule tables:
    input:
        table_files,


rule figures:
    input:
        figure_files,


rule tabulate:
    input:
        hypotheses=all_hypotheses,
        shipped=all_shipped,
    output:
        wer="<results>/tables/wer.csv",
        summary="<results>/tables/summary.csv",
        comparisons="<results>/tables/comparisons.csv",
        intervals="<results>/tables/intervals.csv",
        summary_page=report(
            "<results>/pages/summary.html",
            caption="../report/summary.rst",
            category="1 Word error rates",
            labels={"what": "Table: summary by arm"},
        ),
        comparisons_page=report(
            "<results>/pages/comparisons.html",
            caption="../report/comparisons.rst",
            category="1 Word error rates",
            labels={"what": "Table: arms in pairs"},
        ),
        speakers_page=report(
            "<results>/pages/speakers.html",
            caption="../report/intervals.rst",
            category="2 Speakers",
            labels={"what": "Table: by speaker and arm, with intervals"},
        ),
        counts_page=report(
            "<results>/pages/counts.html",
            caption="../report/wer.rst",
            category="2 Speakers",
            labels={"what": "Table: counts by speaker, arm and seed"},
        ),
        errors_page=report(
            "<results>/pages/errors.html",
            caption="../report/errors.rst",
            category="3 Kinds of error",
            labels={"what": "Table: by arm"},
        ),
        sizes_page=report(
            "<results>/pages/sizes.html",
            caption="../report/sizes_table.rst",
            category="7 Sizes",
            labels={"what": "Table: by arm"},
        ),
        published_page=report(
            "<results>/pages/published.html",
            caption="../report/published.rst",
            category="1 Word error rates",
            labels={"what": "Table: beside the published figures"},
        ),
        record="<results>/tables/tables.jsonl",
    log:
        "<logs>/tabulate.log",
    benchmark:
        "<benchmarks>/tabulate.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("tabulate")
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=lambda wildcards: config["target_speakers"],
        seeds=config["seeds"],
        arms=lambda wildcards: entries_of(config["run_arms"]),
        settings=readable_settings("tabulate"),
    message:
        "Making the tables"
    shell:
        command("tabulate")


rule draw_figures:
    input:
        wer="<results>/tables/wer.csv",
        summary="<results>/tables/summary.csv",
        comparisons="<results>/tables/comparisons.csv",
        intervals="<results>/tables/intervals.csv",
        tables_record="<results>/tables/tables.jsonl",
        records=all_records,
    output:
        wer_by_arm=report(
            "<results>/figures/wer_by_arm.svg",
            caption="../report/wer_by_arm.rst",
            category="1 Word error rates",
            labels={"what": "Figure: WER by arm"},
        ),
        before_after=report(
            "<results>/figures/before_after.svg",
            caption="../report/before_after.rst",
            category="2 Speakers",
            labels={"what": "Figure: before and after adaptation"},
        ),
        wer_by_size=report(
            "<results>/figures/wer_by_size.svg",
            caption="../report/wer_by_size.rst",
            category="1 Word error rates",
            labels={"what": "Figure: WER against size"},
        ),
        wer_by_speaker=report(
            "<results>/figures/wer_by_speaker.svg",
            caption="../report/wer_by_speaker.rst",
            category="2 Speakers",
            labels={"what": "Figure: WER by speaker and arm"},
        ),
        reductions=report(
            "<results>/figures/reductions.svg",
            caption="../report/reductions.rst",
            category="1 Word error rates",
            labels={"what": "Figure: reductions between arms"},
        ),
        error_types=report(
            "<results>/figures/error_types.svg",
            caption="../report/error_types.rst",
            category="3 Kinds of error",
            labels={"what": "Figure: by arm"},
        ),
        loss_curves=report(
            "<results>/figures/loss_curves.svg",
            caption="../report/loss_curves.rst",
            category="6 Training",
            labels={"what": "Figure: loss curves"},
        ),
        sizes=report(
            "<results>/figures/sizes.svg",
            caption="../report/sizes.rst",
            category="7 Sizes",
            labels={"what": "Figure: by arm"},
        ),
        pictures=expand("<results>/figures/{figure}.png", figure=FIGURES),
        record="<results>/figures/run.jsonl",
    log:
        "<logs>/figures.log",
    benchmark:
        "<benchmarks>/figures.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("draw_figures")
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    message:
        "Drawing the figures"
    shell:
        command("figures")
