# How much must a speaker say? The adaptations again with fewer and with more training utterances.
# `snakemake enrolment` makes them; `all` does not.


rule enrolment:
    input:
        f"{RESULTS}/tables/enrolment.csv",
        f"{RESULTS}/figures/enrolment.svg",
    message:
        "The enrolment experiment is complete"


use rule adapt as adapt_enrolment with:
    output:
        adapter="<results>/enrolment/{size}/speakers/{speaker}/{arm}/seed{seed}/adapter.safetensors",
        description="<results>/enrolment/{size}/speakers/{speaker}/{arm}/seed{seed}/adapter.json",
        record="<results>/enrolment/{size}/speakers/{speaker}/{arm}/seed{seed}/adaptation.jsonl",
    log:
        "<logs>/adapt_enrolment/{size}/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/adapt_enrolment/{size}/{speaker}/{arm}/seed{seed}.tsv"
    params:
        settings=enrolled("arm", "adapters", "adaptation"),
        work=f"{RESULTS}/.work/adapt_enrolment/{{size}}/{{speaker}}/{{arm}}/seed{{seed}}",
    message:
        "Adapting {wildcards.arm} to {wildcards.size} utterances of {wildcards.speaker}, seed {wildcards.seed}"


# The speaker's test part alone: held-out speakers' speech is no question here.
use rule decode as decode_enrolment with:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter="<results>/enrolment/{size}/speakers/{speaker}/{arm}/seed{seed}/adapter.safetensors",
        adapter_description="<results>/enrolment/{size}/speakers/{speaker}/{arm}/seed{seed}/adapter.json",
        adaptation="<results>/enrolment/{size}/speakers/{speaker}/{arm}/seed{seed}/adaptation.jsonl",
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
    output:
        hypotheses="<results>/enrolment/{size}/speakers/{speaker}/{arm}/seed{seed}/hypotheses.jsonl",
        record="<results>/enrolment/{size}/speakers/{speaker}/{arm}/seed{seed}/run.jsonl",
    log:
        "<logs>/decode_enrolment/{size}/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/decode_enrolment/{size}/{speaker}/{arm}/seed{seed}.tsv"
    message:
        "Decoding {wildcards.speaker} with {wildcards.arm} of {wildcards.size} utterances, seed {wildcards.seed}"


rule enrolment_curve:
    input:
        hypotheses=enrolment_hypotheses,
        splits=expand(f"{RESULTS}/data/speakers/{{speaker}}/splits.json", speaker=SPEAKERS),
    output:
        table="<results>/tables/enrolment.csv",
        page=report(
            "<results>/pages/enrolment.html",
            caption="../report/enrolment_table.rst",
            category="4 Enrolment",
            labels={"what": "Table: WER by number of training utterances"},
        ),
        figure=report(
            "<results>/figures/enrolment.svg",
            caption="../report/enrolment.rst",
            category="4 Enrolment",
            labels={"what": "Figure: WER by number of training utterances"},
        ),
        picture="<results>/figures/enrolment.png",
        record="<results>/enrolment/run.jsonl",
    log:
        "<logs>/enrolment_curve.log",
    benchmark:
        "<benchmarks>/enrolment_curve.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("enrolment_curve")
    resources:
        cpus_per_task=threads_of("enrolment_curve"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        results=results_folder,
        speakers=lambda wildcards: config["target_speakers"],
        seeds=lambda wildcards: config["seeds"],
        arms=lambda wildcards: json.dumps({arm: ARMS[arm] for arm in enrolment_arms()}),
        sizes=lambda wildcards: enrolment_sizes(),
        options=enrolment_options,
        folder=lambda wildcards, output: os.path.dirname(output.figure),
        pages=lambda wildcards, output: os.path.dirname(output.page),
        settings=settings("scoring"),
    message:
        "Drawing the enrolment curve"
    shell:
        "saml enrolment {params.run:q}"
        " --results {params.results:q}"
        " --speakers {params.speakers:q}"
        " --seeds {params.seeds:q}"
        " --arms {params.arms:q}"
        " --sizes {params.sizes:q}"
        " {params.options:q}"
        " --enrolment {output.table:q}"
        " --pages {params.pages:q}"
        " --output-dir {params.folder:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
