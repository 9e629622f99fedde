# Helpers of the rules, no rules. Everything that a rule takes from the configuration passes through here.
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.logging import logger

try:
    from saml import config as configuration
    from saml import freshness
    from saml.corpora import folder_name, speaker_id
    from saml.errors import SamlError
except ModuleNotFoundError as error:
    sys.exit(f"saml is not installed in this environment ({error}): run `make install` and use its .venv")

# Whoever made a mistake reads one line: an exception would bring its place in the workflow along.
try:
    configuration.validate(config, Path(workflow.source_path("../schemas/config.schema.yaml")))
except SamlError as error:
    sys.exit(str(error))

RESULTS = f"results/{config['experiment']}"
SPEAKERS = {folder_name(speaker): speaker for speaker in config["target_speakers"]}
ARMS = config["arms"]
ADAPTED = [arm for arm in ARMS if ARMS[arm]["adapted"]]
UNADAPTED = [arm for arm in ARMS if not ARMS[arm]["adapted"]]
PRETRAINED = [arm for arm in ADAPTED if ARMS[arm].get("pretrained", False)]
MIXTURES = [arm for arm in PRETRAINED if ARMS[arm]["experts"] > 1]
TABLES = ["wer", "summary", "comparisons", "intervals"]
FIGURES = ["wer_by_arm", "wer_by_speaker", "reductions", "error_types", "loss_curves", "sizes"]

# What every command notes in its run record.
RUN = ["--experiment", config["experiment"]]
RUN += ["--corpus", config["corpus"]["name"], "--family", config["model"]["family"]]

# Jobs on a cluster read this file too; one warning is enough.
if workflow.is_main_process:
    for line in freshness.warnings(config, Path(RESULTS)):
        logger.warning(line)


def one_of(names):
    """A pattern for any of `names` and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    experiment=re.escape(config["experiment"]),
    role="base|pretrain|general",
    speaker="[A-Za-z0-9_%-][A-Za-z0-9_.%-]*",
    arm=one_of(ARMS),
    seed="[1-9][0-9]*",


# --- params and resources


@cache
def settings_as_json(sections, arm):
    return configuration.canonical(configuration.stage_settings(config, sections, arm))


def settings(*sections):
    """A function for `params`: the named sections as JSON, "arm" being the entry of the job's own arm.

    Nothing else of the configuration may stand in params: a change of it would run the job again.
    """
    return lambda wildcards: settings_as_json(sections, wildcards.get("arm"))


def speaker(wildcards):
    """The id of the speaker whose folder the job writes."""
    return speaker_id(wildcards.speaker)


def starting_from(name):
    """The options that name the adapter a training starts from, as `name`; none where it starts afresh."""

    def options(wildcards, input):
        given = [f"--{name}", input.start, f"--{name}-description", input.start_description]
        return given if input.start else []

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
    if wildcards.speaker not in SPEAKERS:
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


def of_speakers(file, arms):
    return [
        f"{RESULTS}/speakers/{folder}/{arm}/seed{seed}/{file}"
        for arm in config["run_arms"]
        if arm in arms
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
    return of_speakers("hypotheses.jsonl", ARMS) + general


def all_shipped(wildcards):
    """The files whose sizes stand in the summary. The full-precision model is what they are compared with."""
    models = sorted({"base", *map(folder_of_model, config["run_arms"])})
    files = [
        f"{RESULTS}/models/{folder}/{file}"
        for folder in models
        for file in ("model.safetensors", "model.json")
    ]
    return files + of_speakers("adapter.safetensors", ADAPTED) + of_speakers("adapter.json", ADAPTED)


def all_records(wildcards):
    """The run records that hold curves."""
    base = f"{RESULTS}/models/base/run.jsonl"
    return [base, *of_pretraining("run.jsonl"), *of_speakers("run.jsonl", ADAPTED)]


# --- hooks


def save_configuration():
    """Leave the merged configuration beside the results; a run goes on without it."""
    try:
        configuration.save(config, Path(RESULTS, "config.yaml"))
    except SamlError as error:
        logger.warning(error)
