# WER by number of training utterances: the adaptations again with fewer and with more of them.
# `snakemake enrolment` makes them; `all` does not.


rule enrolment:
    input:
        "<results>/tables/enrolment.csv",
        "<results>/figures/enrolment.svg",
    message:
        "The enrolment experiment is complete"


use rule adapt as adapt_enrolment with:
    output:
        out_adapter=f"{ENROLMENT}/adapter.safetensors",
        out_description=f"{ENROLMENT}/adapter.json",
        record=f"{ENROLMENT}/adaptation.jsonl",
    log:
        "<logs>/adapt_enrolment/{size}/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/adapt_enrolment/{size}/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED_ARMS),
    params:
        settings=enrolled("adapt"),
        work=f"{WORK}/adapt_enrolment/{{size}}/{{speaker}}/{{arm}}/seed{{seed}}",
    message:
        "Adapting {wildcards.arm} to {wildcards.size} utterances of {wildcards.speaker}, seed {wildcards.seed}"


# The speaker's test part alone, without held-out speakers.
use rule decode as decode_enrolment with:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter=f"{ENROLMENT}/adapter.safetensors",
        adapter_description=f"{ENROLMENT}/adapter.json",
        adaptation_record=f"{ENROLMENT}/adaptation.jsonl",
        cuts=f"{SPEECH}/cuts.jsonl.gz",
        features=f"{SPEECH}/features.bin",
        splits=f"{SPEECH}/splits.json",
        heldout_cuts=[],
    output:
        hypotheses=f"{ENROLMENT}/hypotheses.jsonl",
        record=f"{ENROLMENT}/run.jsonl",
    log:
        "<logs>/decode_enrolment/{size}/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/decode_enrolment/{size}/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED_ARMS),
    message:
        "Decoding {wildcards.speaker} with {wildcards.arm} of {wildcards.size} utterances, seed {wildcards.seed}"


rule enrolment_curve:
    input:
        hypotheses=enrolment_hypotheses,
        splits=expand(f"{SPEECH}/splits.json", speaker=SPEAKERS),
    output:
        enrolment="<results>/tables/enrolment.csv",
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
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=lambda wildcards: config["target_speakers"],
        seeds=config["seeds"],
        arms=lambda wildcards: entries_of(enrolment_arms()),
        sizes=enrolment_sizes(),
        own_size=lambda wildcards: optional(config["partition"]["enrolment"]),
        reference=lambda wildcards: optional(config["enrolment"]["reference"]),
        settings=readable_settings("enrolment"),
    message:
        "Drawing the enrolment curve"
    shell:
        command("enrolment")
