# Helpers of the rules, no rules. Everything that a rule takes from the configuration goes through here and
# through inputs.smk, which has those that name files.
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.logging import logger

try:
    from saml.compat import garbage as _garbage
    from saml.compat import snakemake as _snakemake
    from saml.models.checkpoints import source as base_checkpoint
    from saml.runtime import staleness as freshness
    from saml.config import load as configuration
    from saml.chunks.each import MARK
    from saml.chunks.plan import Chunks, Unit
    from saml.config.checks import without_initial_speakers
    from saml.corpora.registry import folder_name, speaker_id
    from saml.runtime.errors import SamlError
    from saml.tuning.rates import ADAPTATION, PRETRAINING, rate_name, with_rate
except ModuleNotFoundError as error:
    sys.exit(f"saml is not installed in this environment ({error}): run `make install` and use its .venv")

# Until the first job starts (Snakefile): a sixth of the time that planning takes.
_garbage.none_while_planning()
# And that takes long enough for thousands of speakers.
_snakemake.with_short_planning()

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
# What a smaller adapter is called that is one LoRA; others by how many experts they keep.
COLLAPSED = "collapsed"
FIGURES = ["wer_by_arm", "wer_by_speaker", "reductions", "error_types", "loss_curves", "sizes"]
TRANSCRIPTS = [
    f"transcripts/{arm}/{scorer}/{name}"
    for arm in config["run_arms"]
    for scorer in config["scoring"]["scorers"]
    for part in ("test", "heldout")
    for name in (f"ref-{part}.trn", f"hyp-{part}.trn", f"recogs-{part}.txt", f"errs-{part}.txt")
]


# The experiment's name is no wildcard: with the names of all files before it, it would be looked for in every path
# of a graph of thousands of speakers.
pathvars:
    results=RESULTS,
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


# What every command notes in its run record.
RUN = ["--experiment", config["experiment"]]
RUN += ["--corpus", config["corpus"]["name"], "--family", config["model"]["family"]]
# And what one notes that tries a learning rate: it may diverge.
TRIAL = [*RUN, "--trial"]

# Jobs on a cluster read this file too; one warning is enough.
if workflow.is_main_process:
    for line in freshness.warnings(config, Path(RESULTS)):
        logger.warning(line)
    cores = workflow.resource_settings.cores  # of a dry run, which may have none given, nothing is said
    for name, count in config["threads"].items():
        if cores is not None and count > cores and not workflow.dryrun:
            logger.warning(
                f"config: threads.{name} is {count}, --cores gives {cores}: such a job takes {count} all the same, "
                f"for its result depends on that; threads: {{{name}: {cores}}} changes it"
            )


# Every job is told for whom it works, and ends when that Snakemake does, even by SIGKILL (saml/runtime/watchdog.py). It
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
    role="base|pretrain|heldout",
    speaker="[A-Za-z0-9_%-][A-Za-z0-9_.%-]*",
    arm=one_of(ARMS),
    seed="[1-9][0-9]*",
    rate=one_of(RATES),
    kind=one_of([PRETRAINING, ADAPTATION]),
    size="[1-9][0-9]*",
    kept=f"[1-9][0-9]*|{COLLAPSED}",


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


def pool_settings(wildcards):
    """For the pool `base` also at which speeds its speech is heard; nothing where that is not said."""
    of_base = ["base_training.speed_perturbation"] if wildcards.role == "base" else []
    return settings("corpus", "model", *of_base)(wildcards)


def settings_at_rate(section, *sections):
    """`settings`, with the learning rates of `section` that stand in the job's path."""

    def as_json(wildcards):
        chosen = configuration.stage_settings(config, sections, wildcards.arm)
        return configuration.canonical(with_rate(chosen, section, float(wildcards.rate)))

    return as_json


def judging(wildcards):
    """On whom the trials at a rate are judged, and with which loss. Their rates stand in the job's path alone."""
    weight = {**config[wildcards.kind], **ARMS[wildcards.arm].get(wildcards.kind, {})}["ctc_weight"]
    speakers = config["tuning"]["speakers"]
    return configuration.canonical({"tuning": {"speakers": speakers}, wildcards.kind: {"ctc_weight": weight}})


def speaker(wildcards):
    """The id of the speaker whose folder the job writes."""
    return speaker_id(wildcards.speaker)


def results_folder(wildcards, output):
    """The experiment's folder, which follows from the outputs: nothing that could change and run a job again."""
    return RESULTS


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


def those_of(*names):
    """The options for those inputs of these names that the job has; an input's name has underscores."""

    def options(wildcards, input):
        files = {name: input[name.replace("-", "_")] for name in names}
        return [part for name, file in files.items() if file for part in (f"--{name}", file)]

    return options


def threads_of(job):
    """The threads of a job as the configuration has them: results depend on them, so nothing may scale them."""
    return config["threads"].get(job, config["threads"]["default"])


def growing(amount):
    """A resource that grows with each attempt, for jobs that are repeated."""
    return lambda wildcards, attempt: amount * attempt


# --- hooks


def save_configuration():
    """Leave the merged configuration beside the results; a run goes on without it."""
    try:
        configuration.save(config, Path(RESULTS, "config.yaml"))
    except SamlError as error:
        logger.warning(error)
