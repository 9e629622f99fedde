# Helpers of the rules, no rules. Everything that a rule takes from the configuration passes through here.
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.logging import logger

try:
    from saml import base_checkpoint, freshness
    from saml import config as configuration
    from saml.corpora import folder_name, speaker_id
    from saml.errors import SamlError
    from saml.tuning.rates import ADAPTATION, PRETRAINING, rate_name, with_rate
except ModuleNotFoundError as error:
    sys.exit(f"saml is not installed in this environment ({error}): run `make install` and use its .venv")

# Whoever made a mistake reads one line: an exception would bring its place in the workflow along.
try:
    configuration.validate(config, Path(workflow.source_path("../schemas/config.schema.yaml")))
except SamlError as error:
    sys.exit(str(error))

RESULTS = f"results/{config['experiment']}"
SPEAKERS = {folder_name(speaker): speaker for speaker in config["target_speakers"]}
TUNING_SPEAKERS = {folder_name(speaker): speaker for speaker in config["tuning"]["speakers"]}
RATES = [rate_name(rate) for rate in config["tuning"]["grid"]]
ARMS = config["arms"]
ADAPTED = [arm for arm in ARMS if ARMS[arm]["adapted"]]
UNADAPTED = [arm for arm in ARMS if not ARMS[arm]["adapted"]]
PRETRAINED = [arm for arm in ADAPTED if ARMS[arm].get("pretrained", False)]
MIXTURES = [arm for arm in PRETRAINED if ARMS[arm]["experts"] > 1]
ROUTED = [arm for arm in MIXTURES if ARMS[arm].get("routed", False)]
GIVEN_BASE = base_checkpoint.is_given(config["model"])
TABLES = ["wer", "summary", "comparisons", "intervals"]
FIGURES = ["wer_by_arm", "wer_by_speaker", "reductions", "error_types", "loss_curves", "sizes"]

# What every command notes in its run record.
RUN = ["--experiment", config["experiment"]]
RUN += ["--corpus", config["corpus"]["name"], "--family", config["model"]["family"]]
# And what one notes that tries a learning rate: it may diverge.
TRIAL = [*RUN, "--trial"]

# Jobs on a cluster read this file too; one warning is enough.
if workflow.is_main_process:
    for line in freshness.warnings(config, Path(RESULTS)):
        logger.warning(line)


# Every job is told for whom it works, and ends when that Snakemake does, even by SIGKILL (saml/parent.py). It
# takes its shell's place, so that a signal for it is not one for the shell, which would leave it alone.
shell.prefix('set -euo pipefail; export SAML_PARENT=$PPID; saml() {{ exec saml "$@"; }}; ')


# For each job that trains, decodes or routes.
GPUS = config["gpus"]

# A resource of trainings and no param: a change of it runs nothing again.
CHECKPOINT_SECONDS = config["checkpoint_seconds"]


def one_of(names):
    """A pattern for any of `names` and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    experiment=re.escape(config["experiment"]),
    role="base|pretrain|general",
    speaker="[A-Za-z0-9_%-][A-Za-z0-9_.%-]*",
    arm=one_of(ARMS),
    seed="[1-9][0-9]*",
    rate=one_of(RATES),
    size="[1-9][0-9]*",


# --- params and resources


@cache
def settings_as_json(sections, arm, enrolment=None):
    chosen = configuration.stage_settings(config, sections, arm)
    if enrolment is not None:
        chosen["partition"] = {"enrolment": enrolment}
    return configuration.canonical(chosen)


def settings(*sections):
    """A function for `params`: the named sections as JSON, "arm" being the entry of the job's own arm.

    Nothing else of the configuration may stand in params: a change of it would run the job again.
    """
    return lambda wildcards: settings_as_json(sections, wildcards.get("arm"))


def enrolled(*sections):
    """`settings`, and the number of training utterances that stands in the job's path.

    Not the one of the configuration, which the experiment itself has.
    """
    return lambda wildcards: settings_as_json(sections, wildcards.arm, enrolment=int(wildcards.size))


def settings_at_rate(section, *sections):
    """`settings`, with the learning rates of `section` that stand in the job's path."""

    def as_json(wildcards):
        chosen = configuration.stage_settings(config, sections, wildcards.arm)
        return configuration.canonical(with_rate(chosen, section, float(wildcards.rate)))

    return as_json


def speaker(wildcards):
    """The id of the speaker whose folder the job writes."""
    return speaker_id(wildcards.speaker)


def starting_from(name):
    """The options that name the adapter a training starts from, as `name`; none where it starts afresh."""

    def options(wildcards, input):
        given = [f"--{name}", input.start, f"--{name}-description", input.start_description]
        return given if input.start else []

    return options


def given(option, name):
    """The option for the input `name`; none for a job without it."""

    def options(wildcards, input):
        return [f"--{option}", input[name]] if name in input.keys() else []

    return options


def threads_of(job):
    """The threads of a job as the configuration has them: results depend on them, so nothing may scale them."""
    return config["threads"].get(job, config["threads"]["default"])


def growing(amount):
    """A resource that grows with each attempt, for jobs that are repeated."""
    return lambda wildcards, attempt: amount * attempt


# --- inputs


def known_speaker(wildcards):
    """No file, but a clear word about a speaker that was asked for by path and is not in the configuration."""
    if wildcards.speaker not in SPEAKERS | TUNING_SPEAKERS:
        sys.exit(f"{speaker(wildcards)!r} is not one of target_speakers: add it to the configuration")
    return []


def model(file):
    """A file of the model that the job's arm builds on."""
    return lambda wildcards: f"{RESULTS}/models/{folder_of_model(wildcards.arm)}/{file}"


def folder_of_model(arm):
    return "base" if ARMS[arm]["precision"] == "fp32" else "nf4"


def experts(file):
    """A file of the initialised experts, where the job's arm mixes several."""
    return lambda wildcards: stored(MIXTURES, wildcards, f"experts/{file}")


def pretrained(file):
    """A file of the pre-trained adapter, where the job's arm has one."""
    return lambda wildcards: stored(PRETRAINED, wildcards, file)


def stored(arms, wildcards, file):
    return (
        f"{RESULTS}/pretrained/{wildcards.arm}/seed{wildcards.seed}/{file}" if wildcards.arm in arms else []
    )


# --- everything that the tables are made of


def seeds(arm):
    """The seeds of an arm; what is not adapted knows no chance and has the one seed 0."""
    return config["seeds"] if arm in ADAPTED else [0]


def run_arms(among):
    """The arms to compare that are `among` these, in their order."""
    return [arm for arm in config["run_arms"] if arm in among]


def of_speakers(file, arms, within=RESULTS):
    return [
        f"{within}/speakers/{folder}/{arm}/seed{seed}/{file}"
        for arm in arms
        for folder in SPEAKERS
        for seed in seeds(arm)
    ]


def of_pretraining(file):
    return [
        f"{RESULTS}/pretrained/{arm}/seed{seed}/{file}"
        for arm in config["run_arms"]
        if arm in PRETRAINED
        for seed in seeds(arm)
    ]


def all_hypotheses(wildcards):
    """Each arm on each target speaker, and the models that are not adapted on other people's speech."""
    general = [
        f"{RESULTS}/general/{arm}/seed0/hypotheses.jsonl" for arm in config["run_arms"] if arm not in ADAPTED
    ]
    return of_speakers("hypotheses.jsonl", config["run_arms"]) + general


def all_shipped(wildcards):
    """The files whose sizes stand in the summary. The full-precision model is what they are compared with."""
    models = sorted({"base", *map(folder_of_model, config["run_arms"])})
    files = [
        f"{RESULTS}/models/{folder}/{file}"
        for folder in models
        for file in ("model.safetensors", "model.json")
    ]
    adapted = run_arms(ADAPTED)
    return files + of_speakers("adapter.safetensors", adapted) + of_speakers("adapter.json", adapted)


def all_routes(wildcards):
    """Each routed arm's routes of each target speaker."""
    return [
        f"{RESULTS}/pretrained/{arm}/seed{seed}/routes/{folder}/routes.csv"
        for arm in run_arms(ROUTED)
        for seed in seeds(arm)
        for folder in SPEAKERS
    ]


def routing_files(wildcards):
    """What shows the routes, where any arm is routed."""
    files = ["tables/routing.csv", "tables/routers.csv", "figures/routing.svg"]
    return [f"{RESULTS}/{file}" for file in files if run_arms(ROUTED)]


def all_records(wildcards):
    """The run records that hold curves: a given base model has none."""
    base = [] if GIVEN_BASE else [f"{RESULTS}/models/base/run.jsonl"]
    return [*base, *of_pretraining("run.jsonl"), *of_speakers("run.jsonl", run_arms(ADAPTED))]


# --- the enrolment curve


def enrolment_arms():
    """The arms that are not adapted, for comparison, and those of the curve."""
    return run_arms(UNADAPTED) + config["enrolment"]["arms"]


def enrolment_sizes():
    """The numbers of training utterances that the experiment itself does not have already."""
    return [size for size in config["enrolment"]["sizes"] if size != config["partition"]["enrolment"]]


def enrolment_hypotheses(wildcards):
    """Each number's, and the experiment's own."""
    arms = config["enrolment"]["arms"]
    folders = [f"{RESULTS}/enrolment/{size}" for size in enrolment_sizes()]
    return of_speakers("hypotheses.jsonl", enrolment_arms()) + [
        file for folder in folders for file in of_speakers("hypotheses.jsonl", arms, folder)
    ]


def enrolment_options(wildcards):
    """What may be null in the configuration and is left out then."""
    own, reference = config["partition"]["enrolment"], config["enrolment"]["reference"]
    options = [] if own is None else ["--own-size", str(own)]
    return options + ([] if reference is None else ["--reference", reference])


# --- learning rates on trial


def experts_on_trial(file):
    """A file of the experts initialised at the job's rate, where its arm mixes several."""

    def of_arm(wildcards):
        folder = f"{RESULTS}/tuning/{wildcards.arm}/pretraining/lr{wildcards.rate}/seed{wildcards.seed}"
        return f"{folder}/experts/{file}" if wildcards.arm in MIXTURES else []

    return of_arm


def pretrained_at_all_rates(file):
    """A file of each pre-training on trial of the job's arm."""
    return lambda wildcards: [
        f"{RESULTS}/tuning/{wildcards.arm}/pretraining/lr{rate}/seed{wildcards.seed}/{file}" for rate in RATES
    ]


def chosen_start(file):
    """A file of the best pre-trained adapter, where the job's arm has one."""

    def of_arm(wildcards):
        folder = f"{RESULTS}/tuning/{wildcards.arm}/pretrained/seed{wildcards.seed}"
        return f"{folder}/{file}" if wildcards.arm in PRETRAINED else []

    return of_arm


def tuned_stages():
    """The arms to tune, each with the stages that have a learning rate."""
    return {
        arm: [PRETRAINING, ADAPTATION] if arm in PRETRAINED else [ADAPTATION] for arm in run_arms(ADAPTED)
    }


def tuning_as_json(wildcards):
    """What is tuned and how: the settings of the choice."""
    return configuration.canonical({"tuning": config["tuning"], "arms": tuned_stages()})


def all_trials(wildcards):
    """The run records of every pre-training and adaptation on trial."""
    if not tuned_stages():
        sys.exit("run_arms: none of them is adapted, so there is no learning rate to choose")
    seed = config["tuning"]["seed"]
    folders = {PRETRAINING: [""], ADAPTATION: [f"{folder}/" for folder in TUNING_SPEAKERS]}
    return [
        f"{RESULTS}/tuning/{arm}/{stage}/lr{rate}/{folder}seed{seed}/run.jsonl"
        for arm, stages in tuned_stages().items()
        for stage in stages
        for rate in RATES
        for folder in folders[stage]
    ]


# --- hooks


def save_configuration():
    """Leave the merged configuration beside the results; a run goes on without it."""
    try:
        configuration.save(config, Path(RESULTS, "config.yaml"))
    except SamlError as error:
        logger.warning(error)
