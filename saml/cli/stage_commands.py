"""The stages of the pipeline, each a command with the flags that `saml.cli.stage_table` gives it."""

from typing import Any

from saml.cli.arguments import add_names, add_paths, add_settings, add_threads, not_negative
from saml.cli.dispatch import call, function, limit_threads
from saml.cli.stage_table import STAGES, Stage
from saml.runtime.errors import SamlError


def add(commands: Any) -> None:
    """Add a command for each stage."""
    for stage in STAGES:
        _add_stage(commands, stage)


def _add_stage(commands: Any, stage: Stage) -> None:
    command = commands.add_parser(stage.name, help=stage.summary, description=_sentence(stage.summary))
    add_settings(command, f"sections {', '.join(stage.sections)}")
    for name, kind in stage.others:
        command.add_argument(f"--{name}", required=True, type=kind)
    for name, kind in stage.optional_others:
        command.add_argument(f"--{name}", type=kind)
    add_paths(command, (*stage.paths, "record"))
    add_paths(command, stage.optional, required=False)
    if "work" in stage.optional:
        command.add_argument(
            "--checkpoint-seconds",
            type=not_negative,
            default=float("inf"),
            metavar="SECONDS",
            help="leave a checkpoint so often; 0 is after every step (default: after every epoch)",
        )
    if stage.trains_adapter:
        command.add_argument(
            "--trial",
            action="store_true",
            help="try learning rates: a training that diverges is noted in its record and is no error; the "
            "adapter's files are empty then",
        )
    add_names(command)
    add_threads(command)
    command.set_defaults(run=lambda options: _run_stage(stage, options))


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _run_stage(stage: Stage, options: dict[str, Any]) -> None:
    refuse_missing_section(stage, options)
    limit_threads(options.pop("threads"))
    family = options.pop("family")  # a stage that reads a model knows it from there
    if not stage.takes_corpus:
        del options["corpus"]
    if options.pop("trial", False):
        from saml.tuning.trial import run_trial

        run_trial(stage.name, function(stage.function), options, family=family)
    else:
        call(stage.function, options)


def refuse_missing_section(stage: Stage, options: dict[str, Any]) -> None:
    """Raise SamlError where the settings lack a section that the stage wants."""
    for section in stage.sections:
        if section not in options["settings"]:
            raise SamlError(
                f"--settings: section {section!r} is missing; it wants {', '.join(stage.sections)}"
            )
