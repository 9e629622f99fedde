"""The stages of the pipeline, each a command with the flags that `saml.cli.stage_table` gives it."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from saml.cli.arguments import add_names, add_paths, add_threads, json_object, not_negative
from saml.cli.dispatch import function, limit_threads, stay_offline
from saml.cli.stage_definition import Stage, Value
from saml.cli.stage_table import STAGES
from saml.runtime.errors import SamlError
from saml.runtime.layout import folder_name

# Stands for the name of a speaker's folder in path flags.
SPEAKER = "{speaker}"

Options = dict[str, Any]


def add(commands: Any) -> None:
    """Add a command for each stage."""
    for stage in STAGES.values():
        _add_stage(commands, stage)


def _add_stage(commands: Any, stage: Stage) -> None:
    summary = f"{stage.summary[0].upper()}{stage.summary[1:]}."
    command = commands.add_parser(stage.name, help=stage.summary, description=summary)
    command.add_argument("--experiment", required=True, help="name of the experiment")
    if stage.sections:
        command.add_argument(
            "--settings",
            required=True,
            type=json_object,
            metavar="JSON",
            help=f"a JSON object, or @file, with the config's {', '.join(stage.sections)}",
        )
    for value in stage.values:
        _add_value(command, value)
    if stage.per_speaker:
        # Decoding of the held-out pool alone has no speaker, and no cuts of one.
        needed: Options = {"nargs": "*"} if "cuts" in stage.optional else {"nargs": "+", "required": True}
        command.add_argument(
            "--speakers",
            **needed,
            metavar="ID",
            help=f"target speakers; {SPEAKER} in a path is the id, percent-encoded where it is no file name",
        )
    add_paths(command, (*stage.inputs, *stage.outputs, *stage.folders))
    add_paths(command, stage.optional, required=False)
    if stage.trains:
        _add_training(command)
    if stage.tunable:
        command.add_argument(
            "--trial",
            action="store_true",
            help="try a learning rate: divergence is noted in the run record instead of an error; the "
            "adapter's files are empty then",
        )
    add_names(command)
    add_threads(command)
    command.set_defaults(run=partial(_run_stage, stage))


def _add_value(command: argparse.ArgumentParser, value: Value) -> None:
    kind: dict[str, Any] = {} if value.optional else {"required": True}
    if value.many or value.optional:
        kind["nargs"] = "*" if value.many else "?"
    metavar = "JSON" if value.kind is json_object else None
    command.add_argument(f"--{value.name}", type=value.kind, help=value.help, metavar=metavar, **kind)


def _add_training(command: argparse.ArgumentParser) -> None:
    add_paths(command, ("work",), required=False)
    command.add_argument(
        "--checkpoint-seconds",
        type=not_negative,
        default=float("inf"),
        metavar="SECONDS",
        help="time between two checkpoints; 0 is after every step (default: after every epoch)",
    )


def _run_stage(stage: Stage, options: Options) -> None:
    _refuse_wrong_sections(stage, options)
    limit_threads(options.pop("threads"))
    if not stage.downloads:
        stay_offline()
    family = options["family"]
    for name in {"corpus", "family"} - set(stage.notes):
        del options[name]
    trial = options.pop("trial", False)
    jobs = _by_speaker(stage, options) if stage.per_speaker else [options]
    if not trial:
        _call(stage, jobs)
    elif len(jobs) > 1:
        raise SamlError("--trial: give one speaker, because each speaker's training may diverge")
    else:
        # Imported here for start-up, as all functions of commands are.
        from saml.tuning.trial import run_trial

        run_trial(stage.name, lambda **job: _call(stage, [job]), jobs[0], family=family)


def _refuse_wrong_sections(stage: Stage, options: Options) -> None:
    """Raise SamlError where the settings lack a section that the stage needs, or one is no mapping."""
    for section in stage.sections:
        name = section.partition(".")[0]
        if name not in options["settings"]:
            raise SamlError(f"--settings: section {name!r} is missing; it needs {', '.join(stage.sections)}")
        if name != "initial_speakers" and not isinstance(options["settings"][name], dict):
            raise SamlError(f"--settings: section {name!r} must be a JSON object of keys and values")


def _by_speaker(stage: Stage, options: Options) -> list[Options]:
    """The options for each speaker; for none at all, where a stage takes that, those without a speaker."""
    speakers = options.pop("speakers") or [None]
    if len(speakers) > 1:
        for name in stage.outputs:
            if SPEAKER not in str(options[name.replace("-", "_")]):
                raise SamlError(f"--{name}: with several speakers the path must contain {SPEAKER}")
    return [_for_speaker(options, speaker) for speaker in speakers]


def _for_speaker(options: Options, speaker: str | None) -> Options:
    if speaker is None:
        return {**options, "speaker": None}
    folder = folder_name(speaker)
    filled = {
        name: Path(str(value).replace(SPEAKER, folder)) if isinstance(value, Path) else value
        for name, value in options.items()
    }
    return {**filled, "speaker": speaker}


def _call(stage: Stage, jobs: Sequence[Options]) -> None:
    """Run the stage's function for the options of each speaker, or once for all where it takes batches."""
    run = function(stage.function)
    if stage.batch is None:
        for job in jobs:
            run(**job)
        return
    name, path = stage.batch
    of_speaker: Any = function(path)
    own = [field.name for field in fields(of_speaker)]
    speakers = [of_speaker(**{key: job[key] for key in own}) for job in jobs]
    run(**{name: speakers}, **{key: value for key, value in jobs[0].items() if key not in own})
