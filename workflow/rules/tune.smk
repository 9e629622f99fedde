# Learning rates from one grid, selected on tuning speakers, who have no other role. No part of `all`. The rules of
# trainings are those of the experiment, with the rate in their settings, and with a flag that allows divergence. The dev
# part selects the epoch; other sentences judge the rate.


rule tune:
    input:
        f"{TUNING}/rates.csv",
        f"{TUNING}/rates.yaml",
    message:
        "All rates are chosen"


use rule initialise_experts as tune_experts with:
    output:
        out_adapter=f"{TRIAL_PRETRAINING}/experts/adapter.safetensors",
        out_description=f"{TRIAL_PRETRAINING}/experts/adapter.json",
        record=f"{TRIAL_PRETRAINING}/experts/run.jsonl",
    log:
        "<logs>/tune_experts/{arm}/lr{rate}/seed{seed}.log",
    benchmark:
        "<benchmarks>/tune_experts/{arm}/lr{rate}/seed{seed}.tsv"
    params:
        trial="--trial",
        settings=settings_at_rate("initialise-experts", "pretraining"),
        work=f"{WORK}/tune_experts/{{arm}}/lr{{rate}}/seed{{seed}}",
    message:
        "Tuning: initialising the experts of {wildcards.arm} at {wildcards.rate}"


use rule pretrain as tune_pretraining with:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts=f"{PRETRAIN_POOL}/{TRAINING_CUTS}",
        features=f"{PRETRAIN_POOL}/features.bin",
        experts=only_for(MIXTURES, f"{TRIAL_PRETRAINING}/experts/adapter.safetensors"),
        experts_description=only_for(MIXTURES, f"{TRIAL_PRETRAINING}/experts/adapter.json"),
    output:
        out_adapter=f"{TRIAL_PRETRAINING}/adapter.safetensors",
        out_description=f"{TRIAL_PRETRAINING}/adapter.json",
        record=f"{TRIAL_PRETRAINING}/run.jsonl",
    log:
        "<logs>/tune_pretraining/{arm}/lr{rate}/seed{seed}.log",
    benchmark:
        "<benchmarks>/tune_pretraining/{arm}/lr{rate}/seed{seed}.tsv"
    params:
        trial="--trial",
        settings=settings_at_rate("pretrain", "pretraining"),
        work=f"{WORK}/tune_pretraining/{{arm}}/lr{{rate}}/seed{{seed}}",
    message:
        "Tuning: pre-training {wildcards.arm} at {wildcards.rate}"


rule judge_rate:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapters=tried("adapter.safetensors"),
        descriptions=tried("adapter.json"),
        cuts=of_tuning_speakers(TRAINING_CUTS),
        features=of_tuning_speakers("features.bin"),
        splits=of_tuning_speakers("splits.json"),
    output:
        record=f"{TRIAL_LOSSES}/run.jsonl",
    log:
        "<logs>/judge_rate/{arm}/{kind}/lr{rate}/seed{seed}.log",
    benchmark:
        "<benchmarks>/judge_rate/{arm}/{kind}/lr{rate}/seed{seed}.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("judge_rate")
    resources:
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=judging,
    message:
        "Tuning: judging {wildcards.kind} of {wildcards.arm} at {wildcards.rate}"
    shell:
        command("judge-rate")


rule choose_start:
    input:
        adapters=pretrained_at_all_rates("adapter.safetensors"),
        descriptions=pretrained_at_all_rates("adapter.json"),
        records=judged_pretraining,
    output:
        out_adapter=f"{TRIAL_START}/adapter.safetensors",
        out_description=f"{TRIAL_START}/adapter.json",
        record=f"{TRIAL_START}/run.jsonl",
    log:
        "<logs>/choose_start/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/choose_start/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(PRETRAINED_ARMS),
    conda:
        "../../environment.yaml"
    threads: threads_of("choose_start")
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings("choose-start"),
    message:
        "Tuning: choosing the pre-trained {wildcards.arm} to start from"
    shell:
        command("choose-start")


use rule adapt as tune_adaptation with:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts=f"{SPEECH}/{TRAINING_CUTS}",
        features=f"{SPEECH}/features.bin",
        splits=f"{SPEECH}/splits.json",
        adapter=started(f"{TRIAL_START}/adapter.safetensors"),
        adapter_description=started(f"{TRIAL_START}/adapter.json"),
    output:
        out_adapter=f"{TRIAL_ADAPTATION}/adapter.safetensors",
        out_description=f"{TRIAL_ADAPTATION}/adapter.json",
        record=f"{TRIAL_ADAPTATION}/run.jsonl",
    log:
        "<logs>/tune_adaptation/{arm}/lr{rate}/{speaker}/seed{seed}.log",
    benchmark:
        "<benchmarks>/tune_adaptation/{arm}/lr{rate}/{speaker}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED_ARMS),
    params:
        trial="--trial",
        settings=settings_at_rate("adapt", "adaptation"),
        work=f"{WORK}/tune_adaptation/{{arm}}/lr{{rate}}/{{speaker}}/seed{{seed}}",
    message:
        "Tuning: adapting {wildcards.arm} to {wildcards.speaker} at {wildcards.rate}"


rule choose_rates:
    input:
        records=all_judged,
    output:
        rates=report(
            f"{TUNING}/rates.csv",
            caption="../report/rates.rst",
            category="6 Training",
            labels={"what": "Table: losses by learning rate (CSV)"},
        ),
        fragment=f"{TUNING}/rates.yaml",
        record=f"{TUNING}/run.jsonl",
    log:
        "<logs>/choose_rates.log",
    benchmark:
        "<benchmarks>/choose_rates.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("choose_rates")
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=tuning_settings,
    message:
        "Tuning: choosing learning rates"
    shell:
        command("choose-rates")
