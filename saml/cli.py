"""One command per stage: `saml <stage> --help`.

A stage's flags are its function's keyword arguments; the functions live in their own rooms and are
imported only when their command runs.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saml import __version__
from saml.errors import SamlError
from saml.stages import PATHS, STAGES, Stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, or 1 after an error that the user can put right."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        status = options.pop("run")(options)
    except SamlError as error:
        print(f"saml {command}: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise  # a library's own, which says nothing a user could act on
        print(f"saml {command}: error: {error.filename or 'file'}: {error.strerror}", file=sys.stderr)
        return 1
    return int(status or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="saml",
        description="Personalise 4-bit speech recognisers with mixtures of LoRA experts. Every stage of the "
        "pipeline is a command; Snakemake calls them, and so can you.",
    )
    parser.add_argument("--version", action="version", version=f"saml {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for stage in STAGES:
        _add_stage(commands, stage)
    _add_reporting(commands)
    _add_track(commands)
    _add_doctor(commands)
    return parser


def _add_stage(commands: Any, stage: Stage) -> None:
    command = commands.add_parser(stage.name, help=stage.summary, description=_sentence(stage.summary))
    sections = ", ".join(stage.sections)
    command.add_argument("--experiment", required=True, help="name of the experiment")
    command.add_argument(
        "--settings",
        required=True,
        type=settings,
        metavar="JSON",
        help=f"a JSON object, or @file, with the config's sections {sections}",
    )
    for name, kind in stage.others:
        command.add_argument(f"--{name}", required=True, type=kind)
    for name, kind in stage.optional_others:
        command.add_argument(f"--{name}", type=kind)
    for name in (*stage.paths, "record"):
        command.add_argument(f"--{name}", required=True, type=Path, metavar="PATH", help=PATHS[name])
    for name in stage.optional:
        command.add_argument(f"--{name}", type=Path, metavar="PATH", help=PATHS[name])
    _add_names(command)
    _add_threads(command)
    command.set_defaults(run=lambda options: _run_stage(stage, options))


def _add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--threads",
        type=positive,
        default=1,
        help="threads of this job; part of what decides its bytes (default 1)",
    )


def _add_names(command: argparse.ArgumentParser) -> None:
    command.add_argument("--corpus", help="name of the corpus, for the run record")
    command.add_argument("--family", help="family of the recogniser, for the run record")


def _run_stage(stage: Stage, options: dict[str, Any]) -> None:
    for section in stage.sections:
        if section not in options["settings"]:
            raise SamlError(
                f"--settings: section {section!r} is missing; it wants {', '.join(stage.sections)}"
            )
    limit_threads(options.pop("threads"))
    del options["family"]  # a stage that reads a model knows it from there
    if not stage.takes_corpus:
        del options["corpus"]
    _call(stage.function, options)


def _call(function: str, options: dict[str, Any]) -> Any:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(**options)


def limit_threads(threads: int) -> None:
    """Let every numerical library of this process use `threads` threads; before any of them is imported."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Needed by deterministic matrix products on a GPU; read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def settings(text: str) -> dict[str, Any]:
    """A JSON object given on the command line, or in a file as @path."""
    try:
        content = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"not a JSON object: {error}") from None
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return content


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _add_reporting(commands: Any) -> None:
    tables = ("wer", "summary", "comparisons", "intervals")
    command = commands.add_parser("tabulate", help="tables from hypotheses", description="Make the tables.")
    _add_common(command, "scoring", paths=("results", *tables))
    command.add_argument(
        "--arms", required=True, type=settings, metavar="JSON", help="arm to its config entry"
    )
    command.add_argument("--speakers", required=True, nargs="+", help="the target speakers")
    command.add_argument("--seeds", required=True, nargs="+", type=int)
    command.set_defaults(run=lambda options: _run("saml.reporting.tables:tabulate", options))
    command = commands.add_parser("figures", help="figures from tables", description="Draw the figures.")
    _add_common(command, None, paths=("results", *tables, "output-dir"))
    command.set_defaults(run=lambda options: _run("saml.reporting.figures:figures", options))
    command = commands.add_parser(
        "show", help="print an experiment's WER table", description="Print the results."
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.set_defaults(run=lambda options: _call("saml.reporting.show:show", options))


def _add_common(command: argparse.ArgumentParser, section: str | None, *, paths: Sequence[str]) -> None:
    command.add_argument("--experiment", required=True, help="name of the experiment")
    if section is not None:
        command.add_argument(
            "--settings",
            required=True,
            type=settings,
            metavar="JSON",
            help=f"a JSON object, or @file, with the config's section {section}",
        )
    for name in (*paths, "record"):
        command.add_argument(f"--{name}", required=True, type=Path, metavar="PATH", help=PATHS[name])
    _add_names(command)
    _add_threads(command)


def _run(function: str, options: dict[str, Any]) -> None:
    limit_threads(options.pop("threads"))
    _call(function, options)


def _add_track(commands: Any) -> None:
    command = commands.add_parser(
        "track",
        help="publish run records to MLflow",
        description="Publish the run records under a results folder to MLflow: each once, changed ones anew.",
    )
    command.add_argument("results", type=Path, help="results, or one experiment's folder in it")
    command.add_argument(
        "--store", help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, else SQLite under results/mlflow)"
    )
    command.add_argument("--follow", action="store_true", help="go on publishing until interrupted")
    command.add_argument(
        "--every", type=float, default=20.0, metavar="SECONDS", help="between two looks (20)"
    )
    command.add_argument("--until", type=Path, metavar="PATH", help="stop following when this file exists")
    command.set_defaults(run=_track)


def _track(options: dict[str, Any]) -> int:
    from saml.tracking.publish import publish

    counts = publish(options.pop("results"), **options)
    print(counts)
    return 0


def _add_doctor(commands: Any) -> None:
    command = commands.add_parser(
        "doctor",
        help="check an installation and a configuration before a long run",
        description="Check versions, GPU, corpora, disk and configuration, and count the jobs.",
    )
    command.add_argument(
        "--configfile",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="configurations to merge over config/config.yaml, as with snakemake",
    )
    command.set_defaults(run=_doctor)


def _doctor(options: dict[str, Any]) -> int:
    from saml.config import load
    from saml.doctor import doctor

    return doctor(load([Path("config/config.yaml"), *options["configfile"]]), Path.cwd())


if __name__ == "__main__":
    sys.exit(main())
