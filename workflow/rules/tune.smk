# Learning rates from one grid, by people who are heard in no other role. No part of `all`. The rules of trainings
# are those of the experiment; what differs is the rate in their settings, and that they may diverge. A dev part keeps
# the best epoch; how good the rate is, other sentences say.


rule tune:
    input:
        f"{RESULTS}/tuning/rates.csv",
        f"{RESULTS}/tuning/rates.yaml",
    message:
        "All rates are chosen"


use rule initialise_experts as tune_experts with:
    output:
        adapter="<results>/tuning/{arm}/pretraining/lr{rate}/seed{seed}/experts/adapter.safetensors",
        description="<results>/tuning/{arm}/pretraining/lr{rate}/seed{seed}/experts/adapter.json",
        record="<results>/tuning/{arm}/pretraining/lr{rate}/seed{seed}/experts/run.jsonl",
    log:
        "<logs>/tune_experts/{arm}/lr{rate}/seed{seed}.log",
    benchmark:
        "<benchmarks>/tune_experts/{arm}/lr{rate}/seed{seed}.tsv"
    params:
        run=TRIAL,
        settings=settings_at_rate("pretraining", "arm", "adapters", "pretraining", "initial_speakers"),
        work=f"{RESULTS}/.work/tune_experts/{{arm}}/lr{{rate}}/seed{{seed}}",
    message:
        "Tuning: initialising the experts of {wildcards.arm} at {wildcards.rate}"


use rule pretrain as tune_pretraining with:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts="<results>/data/pools/pretrain/cuts.jsonl.gz",
        features="<results>/data/pools/pretrain/features.bin",
        start=experts_on_trial("adapter.safetensors"),
        start_description=experts_on_trial("adapter.json"),
    output:
        adapter="<results>/tuning/{arm}/pretraining/lr{rate}/seed{seed}/adapter.safetensors",
        description="<results>/tuning/{arm}/pretraining/lr{rate}/seed{seed}/adapter.json",
        record="<results>/tuning/{arm}/pretraining/lr{rate}/seed{seed}/run.jsonl",
    log:
        "<logs>/tune_pretraining/{arm}/lr{rate}/seed{seed}.log",
    benchmark:
        "<benchmarks>/tune_pretraining/{arm}/lr{rate}/seed{seed}.tsv"
    params:
        run=TRIAL,
        settings=settings_at_rate("pretraining", "arm", "adapters", "pretraining", "initial_speakers"),
        work=f"{RESULTS}/.work/tune_pretraining/{{arm}}/lr{{rate}}/seed{{seed}}",
    message:
        "Tuning: pre-training {wildcards.arm} at {wildcards.rate}"


rule judge_rate:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapters=tried("adapter.safetensors"),
        descriptions=tried("adapter.json"),
        cuts=of_tuning_speakers("cuts.jsonl.gz"),
        features=of_tuning_speakers("features.bin"),
        splits=of_tuning_speakers("splits.json"),
    output:
        record="<results>/tuning/{arm}/judged-{kind}/lr{rate}/seed{seed}/run.jsonl",
    log:
        "<logs>/judge_rate/{arm}/{kind}/lr{rate}/seed{seed}.log",
    benchmark:
        "<benchmarks>/judge_rate/{arm}/{kind}/lr{rate}/seed{seed}.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("judge_rate")
    resources:
        cpus_per_task=threads_of("judge_rate"),
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        results=results_folder,
        settings=judging,
    message:
        "Tuning: judging {wildcards.kind} of {wildcards.arm} at {wildcards.rate}"
    shell:
        "saml judge-rate {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --seed {wildcards.seed:q}"
        " --kind {wildcards.kind:q}"
        " --rate {wildcards.rate:q}"
        " --results {params.results:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule choose_start:
    input:
        adapters=pretrained_at_all_rates("adapter.safetensors"),
        descriptions=pretrained_at_all_rates("adapter.json"),
        records=judged_pretraining,
    output:
        adapter="<results>/tuning/{arm}/pretrained/seed{seed}/adapter.safetensors",
        description="<results>/tuning/{arm}/pretrained/seed{seed}/adapter.json",
        record="<results>/tuning/{arm}/pretrained/seed{seed}/run.jsonl",
    log:
        "<logs>/choose_start/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/choose_start/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PRETRAINED),
    conda:
        "../../environment.yaml"
    threads: threads_of("choose_start")
    resources:
        cpus_per_task=threads_of("choose_start"),
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        run=RUN,
        results=results_folder,
        settings=settings("tuning.grid", "tuning.speakers"),
    message:
        "Tuning: choosing the pre-trained {wildcards.arm} to start from"
    shell:
        "saml choose-start {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --seed {wildcards.seed:q}"
        " --results {params.results:q}"
        " --out-adapter {output.adapter:q}"
        " --out-description {output.description:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


use rule adapt as tune_adaptation with:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
        start=chosen_start("adapter.safetensors"),
        start_description=chosen_start("adapter.json"),
    output:
        adapter="<results>/tuning/{arm}/adaptation/lr{rate}/{speaker}/seed{seed}/adapter.safetensors",
        description="<results>/tuning/{arm}/adaptation/lr{rate}/{speaker}/seed{seed}/adapter.json",
        record="<results>/tuning/{arm}/adaptation/lr{rate}/{speaker}/seed{seed}/run.jsonl",
    log:
        "<logs>/tune_adaptation/{arm}/lr{rate}/{speaker}/seed{seed}.log",
    benchmark:
        "<benchmarks>/tune_adaptation/{arm}/lr{rate}/{speaker}/seed{seed}.tsv"
    params:
        run=TRIAL,
        settings=settings_at_rate("adaptation", "arm", "adapters", "adaptation", "partition.enrolment"),
        work=f"{RESULTS}/.work/tune_adaptation/{{arm}}/lr{{rate}}/{{speaker}}/seed{{seed}}",
    message:
        "Tuning: adapting {wildcards.arm} to {wildcards.speaker} at {wildcards.rate}"


rule choose_rates:
    input:
        records=all_judged,
    output:
        rates=report(
            "<results>/tuning/rates.csv",
            caption="../report/rates.rst",
            category="6 Training",
            labels={"what": "Table: losses by learning rate (CSV)"},
        ),
        fragment="<results>/tuning/rates.yaml",
        record="<results>/tuning/run.jsonl",
    log:
        "<logs>/choose_rates.log",
    benchmark:
        "<benchmarks>/choose_rates.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("choose_rates")
    resources:
        cpus_per_task=threads_of("choose_rates"),
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        run=RUN,
        results=results_folder,
        settings=tuning_as_json,
    message:
        "Tuning: choosing learning rates"
    shell:
        "saml choose-rates {params.run:q}"
        " --results {params.results:q}"
        " --rates {output.rates:q}"
        " --fragment {output.fragment:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
