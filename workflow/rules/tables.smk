# What a person looks at. These are the only rules that know all speakers, seeds and arms.


rule tabulate:
    input:
        hypotheses=all_hypotheses,
        shipped=all_shipped,
    output:
        wer=report(
            "results/{experiment}/tables/wer.csv",
            caption="../report/wer.rst",
            category="Tables",
            labels={"table": "Counts by arm, speaker and seed"},
        ),
        summary=report(
            "results/{experiment}/tables/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "Summary by arm"},
        ),
        comparisons=report(
            "results/{experiment}/tables/comparisons.csv",
            caption="../report/comparisons.rst",
            category="Tables",
            labels={"table": "Arms in pairs"},
        ),
        intervals=report(
            "results/{experiment}/tables/intervals.csv",
            caption="../report/intervals.rst",
            category="Tables",
            labels={"table": "Intervals by arm and speaker"},
        ),
        record="results/{experiment}/tables/run.jsonl",
    log:
        "results/{experiment}/logs/tabulate.log",
    benchmark:
        "results/{experiment}/benchmarks/tabulate.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("tabulate")
    resources:
        cpus_per_task=threads_of("tabulate"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        speakers=lambda wildcards: config["target_speakers"],
        seeds=lambda wildcards: config["seeds"],
        # In the order of run_arms, which is that of the tables' rows.
        arms=lambda wildcards: json.dumps({arm: ARMS[arm] for arm in config["run_arms"]}),
        settings=settings("scoring"),
    message:
        "Making the tables"
    shell:
        "saml tabulate {params.run:q}"
        " --results results/{wildcards.experiment:q}"
        " --speakers {params.speakers:q}"
        " --seeds {params.seeds:q}"
        " --arms {params.arms:q}"
        " --wer {output.wer:q}"
        " --summary {output.summary:q}"
        " --comparisons {output.comparisons:q}"
        " --intervals {output.intervals:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule figures:
    input:
        wer="results/{experiment}/tables/wer.csv",
        summary="results/{experiment}/tables/summary.csv",
        comparisons="results/{experiment}/tables/comparisons.csv",
        intervals="results/{experiment}/tables/intervals.csv",
        records=all_records,
    output:
        wer_by_arm=report(
            "results/{experiment}/figures/wer_by_arm.svg",
            caption="../report/wer_by_arm.rst",
            category="Figures",
            labels={"figure": "WER by arm"},
        ),
        wer_by_speaker=report(
            "results/{experiment}/figures/wer_by_speaker.svg",
            caption="../report/wer_by_speaker.rst",
            category="Figures",
            labels={"figure": "WER by speaker"},
        ),
        reductions=report(
            "results/{experiment}/figures/reductions.svg",
            caption="../report/reductions.rst",
            category="Figures",
            labels={"figure": "Reductions between arms"},
        ),
        error_types=report(
            "results/{experiment}/figures/error_types.svg",
            caption="../report/error_types.rst",
            category="Figures",
            labels={"figure": "Kinds of errors"},
        ),
        loss_curves=report(
            "results/{experiment}/figures/loss_curves.svg",
            caption="../report/loss_curves.rst",
            category="Figures",
            labels={"figure": "Loss curves"},
        ),
        sizes=report(
            "results/{experiment}/figures/sizes.svg",
            caption="../report/sizes.rst",
            category="Figures",
            labels={"figure": "Sizes"},
        ),
        pictures=expand("results/{{experiment}}/figures/{figure}.png", figure=FIGURES),
        record="results/{experiment}/figures/run.jsonl",
    log:
        "results/{experiment}/logs/figures.log",
    benchmark:
        "results/{experiment}/benchmarks/figures.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("figures")
    resources:
        cpus_per_task=threads_of("figures"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        folder=lambda wildcards, output: os.path.dirname(output.record),
    message:
        "Drawing the figures"
    shell:
        "saml figures {params.run:q}"
        " --results results/{wildcards.experiment:q}"
        " --wer {input.wer:q}"
        " --summary {input.summary:q}"
        " --comparisons {input.comparisons:q}"
        " --intervals {input.intervals:q}"
        " --output-dir {params.folder:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " > {log:q} 2>&1"
