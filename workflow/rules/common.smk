# Helpers of the rules, no rules. Everything that a rule takes from the configuration goes through here and
# through inputs.smk, which has those that name files.
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from snakemake.logging import logger

try:
    from saml.cli.stage_table import STAGES
    from saml.config import load as configuration
    from saml.config.checks import without_initial_speakers
    from saml.config.settings import adapters_of, start_of
    from saml.models.checkpoints import source as base_checkpoint
    from saml.doctor import staleness
    from saml.runtime import layout
    from saml.runtime.errors import SamlError
    from saml.runtime.layout import folder_name, speaker_id
    from saml.tuning.rates import ADAPTATION, PRETRAINING, rate_name, with_rate
except ModuleNotFoundError as error:
    sys.exit(f"saml is not installed in this environment ({error}): run `make install` and use its .venv")

# A mistake is reported in one line: an exception would bring its place in the workflow along.
try:
    configuration.validate(
        config,
        Path(workflow.source_path("../schemas/config.schema.yaml")),
        files=[Path("config/config.yaml"), *map(Path, workflow.overwrite_configfiles)],
    )
    if isinstance(config["target_speakers"], dict):
        # Imported only here: corpora take seconds to import.
        from saml.corpora.all_speakers import all_speakers

        config["target_speakers"] = all_speakers(config)
except SamlError as error:
    sys.exit(str(error))

RESULTS = f"results/{config['experiment']}"
SPEAKERS = {folder_name(speaker): speaker for speaker in config["target_speakers"]}
TUNING_SPEAKERS = {folder_name(speaker): speaker for speaker in config["tuning"]["speakers"]}
RATES = [rate_name(rate) for rate in config["tuning"]["grid"]]
ARMS = config["arms"]
ADAPTED_ARMS = [arm for arm in ARMS if ARMS[arm]["adapted"]]
UNADAPTED_ARMS = [arm for arm in ARMS if not ARMS[arm]["adapted"]]
# Arms that start from a pre-training, and those of them that have one of their own.
STARTED_ARMS = [arm for arm in ADAPTED_ARMS if ARMS[arm].get("pretrained", False)]
PRETRAINED_ARMS = [arm for arm in STARTED_ARMS if ARMS[arm]["pretrained"] is True]
MIXTURES = [arm for arm in PRETRAINED_ARMS if ARMS[arm]["experts"] > 1]
# The arms whose routes are computed from speech, by routers.
ROUTED_ARMS = [
    arm
    for arm in MIXTURES
    if ARMS[arm].get("routed", False) and adapters_of(config, ARMS[arm])["routes_from"] == "router"
]
GIVEN_BASE = base_checkpoint.is_given(config["model"])
# What adapters are trained on: cuts with labels in the style of the base model, or with the transcripts.
TRAINING_CUTS = "labelled.jsonl.gz" if configuration.labels_in_models_style(config) else "cuts.jsonl.gz"
TABLES = ["wer", "summary", "comparisons", "intervals"]
FIGURES = [
    "wer_by_arm",
    "before_after",
    "wer_by_size",
    "wer_by_speaker",
    "reductions",
    "error_types",
    "loss_curves",
    "sizes",
]
# The name of a pruned adapter that is one LoRA; others have the number of experts that they keep.
COLLAPSED = "collapsed"
TRANSCRIPTS = [
    f"{layout.TRANSCRIPTS}/{arm}/{scorer}/{name}"
    for arm in config["run_arms"]
    for scorer in config["scoring"]["scorers"]
    for part in ("test", "heldout")
    for name in (f"ref-{part}.trn", f"hyp-{part}.trn", f"recogs-{part}.txt", f"errs-{part}.txt")
]

# GPUs of each job that trains, decodes or routes.
GPUS = config["gpus"]

# MB of memory of a training on the pre-training speakers. With a checkpoint's own vocabulary, on a CPU, OpenAI's tiny.en
# took at most 4,700 and base 7,800; models of single characters take less.
OWN_VOCABULARY = config["model"]["family"] == "whisper" and config["model"]["whisper"]["characters"] is None
TRAINING_MB = 8000 if OWN_VOCABULARY else 3000

# Target speakers that are adapted to, and decoded, in one job (together.smk). Without, each has jobs of its own.
TOGETHER = config["speakers_together"]
GROUPS = [list(SPEAKERS)[first : first + TOGETHER] for first in range(0, len(SPEAKERS), TOGETHER)]
GROUPS = GROUPS if TOGETHER > 1 else []


# --- folders, with wildcards: saml/runtime/layout.py says what they are


pathvars:
    results=RESULTS,
    logs=f"<results>/{layout.LOGS}",
    benchmarks=f"<results>/{layout.BENCHMARKS}",


def folder(template, **factors):
    """A folder of the experiment; the factors that are not given stay wildcards."""
    return f"{RESULTS}/{layout.fill(template, **factors)}"


CORPUS = folder(layout.CORPUS)
POOL = folder(layout.POOL)
BASE_POOL, PRETRAIN_POOL, HELDOUT_POOL = (
    folder(layout.POOL, role=r) for r in ("base", "pretrain", "heldout")
)
SPEECH = folder(layout.SPEECH)
BASE, NF4 = (folder(layout.MODEL, model=model) for model in ("base", "nf4"))
EXPERTS = folder(layout.EXPERTS)
PRETRAINED = folder(layout.PRETRAINED)
ROUTES = folder(layout.ROUTES)
ADAPTED = folder(layout.ADAPTED)
HELDOUT = folder(layout.HELDOUT)
ENROLMENT = f"{folder(layout.ENROLMENT)}/{layout.ADAPTED}"
PRUNED = f"{folder(layout.PRUNED)}/{layout.ADAPTED}"
EMBEDDINGS = folder(layout.EMBEDDINGS)
TRIAL_PRETRAINING = folder(layout.TRIAL_PRETRAINING)
TRIAL_START = folder(layout.TRIAL_START)
TRIAL_ADAPTATION = folder(layout.TRIAL_ADAPTATION)
TRIAL_LOSSES = folder(layout.TRIAL_LOSSES)
TUNING = folder(layout.TUNING)
WORK = folder(layout.WORK)


def one_of(names):
    """A pattern for any of `names` and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


ANY_SPEAKER = "[A-Za-z0-9_%-][A-Za-z0-9_.%-]*"
# The speakers that `adapt` and `decode` take one by one: all, or none.
ALONE = "(?!)" if GROUPS else ANY_SPEAKER


wildcard_constraints:
    role="base|pretrain|heldout",
    speaker=ANY_SPEAKER,
    arm=one_of(ARMS),
    seed="[1-9][0-9]*",
    rate=one_of(RATES),
    kind=one_of([PRETRAINING, ADAPTATION]),
    size="[1-9][0-9]*",
    kept=f"[1-9][0-9]*|{COLLAPSED}",


# --- commands

# Every job is told its Snakemake, and ends when that does, even by SIGKILL (saml/runtime/watchdog.py).
shell.prefix("set -euo pipefail; export SAML_PARENT=$PPID; ")

# The flags of a command that are the same for all its jobs. Nothing here is a param, so no change of it runs jobs
# again: the names follow from the results' folder, and threads and checkpoints depend on the machine.
SAME_FOR_ALL = f"--experiment {config['experiment']} --corpus {config['corpus']['name']}"
SAME_FOR_ALL += f" --family {config['model']['family']}"
FOLDERS = {
    "results": RESULTS,
    "pages": f"{RESULTS}/{layout.PAGES}",
    "output-dir": f"{RESULTS}/{layout.FIGURES}",
    "transcripts": f"{RESULTS}/{layout.TRANSCRIPTS}",
}


def command(name, **templates):
    """The shell command of a rule: `saml <name>`, with a flag for each input, output, wildcard and param.

    Which flags a stage has is defined in saml/cli/stage_table.py. `templates` are paths with {speaker}, for jobs
    of several speakers; they take the place of the rule's inputs or outputs of these names. The program takes
    the shell's place (`exec`), so that it gets the signals that are meant for the job.
    """
    stage = STAGES[name]
    parts = [f"exec saml {name} {SAME_FOR_ALL}"]
    for flag, source in stage.rule_flags():
        value = templates.get(flag.replace("-", "_"), f"{{{source}:q}}")
        parts.append(f"--{flag} {value}")
    parts += [f"--{flag} {FOLDERS[flag]}" for flag in stage.folders]
    if stage.trains:
        parts.append(f"--checkpoint-seconds {config['checkpoint_seconds']}")
    if stage.tunable:
        parts.append("{params.trial:q}")
    return " ".join([*parts, f"--threads {threads_of(name)}", "> {log:q} 2>&1"])


def threads_of(name):
    """The threads of a stage, as configured: results depend on them, so nothing may scale them."""
    return config["threads"].get(name.replace("-", "_"), config["threads"]["default"])


def growing(amount):
    """A resource that grows with each attempt, for jobs that are repeated."""
    return lambda wildcards, attempt: amount * attempt


# --- params


@cache
def settings_as_json(sections, arm, enrolment=None):
    chosen = configuration.stage_settings(config, sections, arm)
    if enrolment is not None:
        chosen["partition"] = {"enrolment": enrolment}
    return configuration.canonical(chosen)


def settings(name, *more):
    """For `params`: the config sections of a stage as JSON, "arm" being the entry of the job's own arm.

    Nothing else of the configuration may stand in params: a change of it would run the job again.
    """
    sections = (*STAGES[name].sections, *more)
    return lambda wildcards: settings_as_json(sections, wildcards.get("arm"))


def readable_settings(name):
    """`settings` of a job whose parameters a person reads, in the report."""
    chosen = configuration.stage_settings(config, STAGES[name].sections, None)
    return configuration.readable(chosen, sort=True)


def enrolled(name):
    """`settings`, with the number of training utterances that stands in the job's path."""
    sections = STAGES[name].sections
    return lambda wildcards: settings_as_json(sections, wildcards.arm, enrolment=int(wildcards.size))


def pool_settings(wildcards):
    """`settings`; of the pool `base` also the speeds at which its utterances are repeated."""
    of_base = ["base_training.speed_perturbation"] if wildcards.role == "base" else []
    return speech_settings("prepare-pool", *of_base)


def speaker_settings(wildcards):
    """`settings` of prepare-speaker."""
    return speech_settings("prepare-speaker")


@cache
def speech_settings(name, *more):
    """`settings` of a stage that prepares speech, which depend on whether there is a CTC loss."""
    return configuration.canonical(configuration.speech_settings(config, (*STAGES[name].sections, *more)))


def settings_at_rate(name, section):
    """`settings`, with the learning rates of `section` that stand in the job's path."""

    def as_json(wildcards):
        chosen = configuration.stage_settings(config, STAGES[name].sections, wildcards.arm)
        return configuration.canonical(with_rate(chosen, section, float(wildcards.rate)))

    return as_json


def judging(wildcards):
    """The speakers and the loss by which trials at a rate are judged. The rates stand in the job's path alone."""
    weight = {**config[wildcards.kind], **ARMS[wildcards.arm].get(wildcards.kind, {})}["ctc_weight"]
    chosen = {"tuning": {"speakers": config["tuning"]["speakers"]}, wildcards.kind: {"ctc_weight": weight}}
    # The transcripts are the rule: their name in params would run earlier trials again.
    labelled = {"cuts": TRAINING_CUTS} if configuration.labels_in_models_style(config) else {}
    return configuration.canonical({**chosen, **labelled})


def speaker(wildcards):
    """The id of the speaker whose folder the job writes."""
    return speaker_id(wildcards.speaker)


def optional(value):
    """A value of the configuration that may be null: its flag stands without a value then."""
    return [] if value is None else value


def entries_of(arms):
    """The configuration's entries of these arms, in their order, which is that of the tables' rows."""
    return configuration.readable({arm: ARMS[arm] for arm in arms})


# --- when a run begins

# Jobs on a cluster read this file too; one warning is enough.
if workflow.is_main_process:
    for line in staleness.warnings(config, Path(RESULTS)):
        logger.warning(line)
    cores = workflow.resource_settings.cores  # None in a dry run without --cores
    for name, count in config["threads"].items():
        if cores is not None and count > cores and not workflow.dryrun:
            logger.warning(
                f"config: threads.{name} is {count}, --cores gives {cores}: such a job takes {count} all the same, "
                f"for its result depends on that; threads: {{{name}: {cores}}} changes it"
            )


def save_configuration():
    """Leave the merged configuration beside the results; a run goes on without it."""
    try:
        configuration.save(config, Path(RESULTS, "config.yaml"))
    except SamlError as error:
        logger.warning(error)


# --- while a run goes on

WATCHERS = []


def show_progress():
    """Print every minute how far the run is, in a process of its own, which ends with this one."""
    if not workflow.is_main_process:
        return
    try:
        # In a session of its own, so that Ctrl-C is left to Snakemake.
        watcher = subprocess.Popen(
            ["saml", "progress", RESULTS, "--follow"],
            env={**os.environ, "SAML_PARENT": str(os.getpid())},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        # With --software-deployment-method conda, `saml` may be in the jobs' environment alone.
        logger.warning(f"no reports of progress: {error}")
        return
    WATCHERS.append(watcher)


def end_progress():
    """No more reports: the run is over."""
    for watcher in WATCHERS:
        watcher.kill()
        watcher.wait()
