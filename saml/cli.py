"""One command per stage: `saml <stage> --help`.

A stage's flags are its function's keyword arguments; the functions live in their own rooms and are
imported only when their command runs.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from saml import __version__
from saml.errors import SamlError, is_out_of_memory
from saml.parent import die_with_parent
from saml.stages import PATHS, STAGES, Stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, or 1 after an error that the user can put right.

    A training that was asked to stop, and can go on, ends with 143.
    """
    die_with_parent()
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        status = options.pop("run")(options)
    except SamlError as error:
        print(f"saml {command}: error: {error}", file=sys.stderr)
        return error.status
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        advice = "give the job more, or lower batch_utterances or batch_seconds of its section"
        print(f"saml {command}: error: out of memory: {advice}", file=sys.stderr)
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
    _add_personalise(commands)
    _add_transcribe(commands)
    _add_doctor(commands)
    _add_download(commands)
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
    if "work" in stage.optional:
        command.add_argument(
            "--checkpoint-seconds",
            type=not_negative,
            default=float("inf"),
            metavar="SECONDS",
            help="leave a checkpoint so often; 0 is after every step (default: after every pass)",
        )
    if stage.trains_adapter:
        command.add_argument(
            "--trial",
            action="store_true",
            help="try learning rates: a training that diverges is noted in its record and is no error; the "
            "adapter's files are empty then",
        )
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
    family = options.pop("family")  # a stage that reads a model knows it from there
    if not stage.takes_corpus:
        del options["corpus"]
    if options.pop("trial", False):
        from saml.tuning.trial import run_trial

        run_trial(stage.name, _function(stage.function), options, family=family)
    else:
        _call(stage.function, options)


def _call(function: str, options: dict[str, Any]) -> Any:
    return _function(function)(**options)


def _function(path: str) -> Callable[..., Any]:
    """The function "module:name"; only now is its module imported."""
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


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


def not_negative(text: str) -> float:
    """A number of 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return number


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _add_reporting(commands: Any) -> None:
    tables = ("wer", "summary", "comparisons", "intervals")
    command = commands.add_parser("tabulate", help="tables from hypotheses", description="Make the tables.")
    _add_common(command, "scoring", paths=("results", *tables, "pages"))
    _add_factors(command)
    command.set_defaults(run=lambda options: _run("saml.reporting.tables:tabulate", options))
    _add_enrolment(commands)
    _add_routing(commands)
    command = commands.add_parser("figures", help="figures from tables", description="Draw the figures.")
    _add_common(command, None, paths=("results", *tables, "tables-record", "output-dir"))
    command.set_defaults(run=lambda options: _run("saml.reporting.figures:figures", options))
    command = commands.add_parser(
        "show", help="print an experiment's WER table", description="Print the results."
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.set_defaults(run=lambda options: _call("saml.reporting.show:show", options))
    command = commands.add_parser(
        "show-rates",
        help="print an experiment's dev losses by learning rate",
        description="Print what `snakemake tune` found.",
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.set_defaults(run=lambda options: _call("saml.tuning.show:show_rates", options))


def _add_enrolment(commands: Any) -> None:
    command = commands.add_parser(
        "enrolment",
        help="word error rates by number of training utterances: a table and a figure",
        description="Make the table of the enrolment curve and draw it.",
    )
    _add_common(command, "scoring", paths=("results", "enrolment", "pages", "output-dir"))
    _add_factors(command)
    command.add_argument(
        "--sizes", required=True, nargs="*", type=int, help="numbers of utterances in <results>/enrolment"
    )
    command.add_argument("--own-size", type=int, help="the number of <results> itself (all of them)")
    command.add_argument("--reference", help="the arm that the others are compared with")
    command.set_defaults(run=lambda options: _run("saml.reporting.enrolment:enrolment", options))


def _add_routing(commands: Any) -> None:
    command = commands.add_parser(
        "routing",
        help="where routers send speech: tables and a figure",
        description="Make the tables of routes and draw them.",
    )
    _add_common(command, "scoring", paths=("results", "routing", "routers", "pages", "output-dir"))
    command.add_argument("--arms", required=True, nargs="+", help="the arms that are routed")
    _add_speakers_and_seeds(command)
    command.set_defaults(run=lambda options: _run("saml.reporting.routing:routing", options))


def _add_factors(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--arms", required=True, type=settings, metavar="JSON", help="arm to its config entry"
    )
    _add_speakers_and_seeds(command)


def _add_speakers_and_seeds(command: argparse.ArgumentParser) -> None:
    command.add_argument("--speakers", required=True, nargs="+", help="the target speakers")
    command.add_argument("--seeds", required=True, nargs="+", type=int)


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


def _add_personalise(commands: Any) -> None:
    command = commands.add_parser(
        "personalise",
        help="adapt an experiment's models to recordings of your own",
        description="Adapt arms of an experiment that has run to the speakers of a folder with a "
        "manifest.tsv, and print their word error rates before and after. Nothing else is trained.",
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.add_argument(
        "--recordings", required=True, type=Path, metavar="PATH", help="folder with a manifest.tsv"
    )
    command.add_argument(
        "--out", type=Path, default=Path("results/own"), metavar="PATH", help="folder to write (results/own)"
    )
    command.add_argument("--speakers", nargs="+", help="whom to adapt to (default: all in the manifest)")
    command.add_argument("--arms", nargs="+", help="adapted arms (default: those that the experiment ran)")
    command.add_argument(
        "--folds",
        type=positive,
        default=5,
        help="divisions of the recordings; each recording is tested in one of them (default 5)",
    )
    command.add_argument("--seed", type=positive, help="of the adapters (default: the experiment's first)")
    _add_threads(command)
    command.set_defaults(run=lambda options: _run("saml.personalise:personalise", options))


def _add_transcribe(commands: Any) -> None:
    command = commands.add_parser(
        "transcribe",
        help="write down what is said in recordings",
        description="Print a line for each recording: its file, a tab, its text. A recording is one "
        "utterance of some seconds, in any format that libsndfile reads.",
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings")
    command.add_argument("--weights", required=True, type=Path, metavar="PATH", help=PATHS["weights"])
    command.add_argument(
        "--description", type=Path, metavar="PATH", help="its description (default: as --weights, but .json)"
    )
    command.add_argument("--adapter", type=Path, metavar="PATH", help="adapter to that model (safetensors)")
    command.add_argument(
        "--adapter-description",
        type=Path,
        metavar="PATH",
        help="its description (default: as --adapter, but .json)",
    )
    command.add_argument("--fold", type=int, default=0, help="of an adapter trained in folds (default 0)")
    command.add_argument("--beams", type=positive, default=4, help="hypotheses kept (default 4)")
    _add_threads(command)
    command.set_defaults(run=lambda options: _run("saml.transcribe:print_texts", options))


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


def _add_download(commands: Any) -> None:
    command = commands.add_parser(
        "download",
        help="get a real corpus: librispeech or tedlium3",
        description="Download a corpus from openslr.org and unpack it. A download that broke off goes on "
        "where it stopped; archives stay beside what is in them, so twice their size must be free.",
    )
    corpora = command.add_subparsers(dest="corpus", required=True, metavar="corpus")
    librispeech = corpora.add_parser(
        "librispeech", help="parts of LibriSpeech (6, 23 and 31 GB for training)"
    )
    tedlium3 = corpora.add_parser("tedlium3", aliases=["tedlium"], help="TED-LIUM 3 (54 GB)")
    librispeech.add_argument(
        "--parts",
        nargs="+",
        default=["train-clean-100", "train-clean-360"],
        help="which (default: train-clean-100 train-clean-360)",
    )
    for corpus, function in ((librispeech, "download_librispeech"), (tedlium3, "download_tedlium3")):
        corpus.add_argument("--root", required=True, type=Path, help="folder to put it into")
        corpus.set_defaults(function=f"saml.corpora.download:{function}")
    command.set_defaults(run=_download)


def _download(options: dict[str, Any]) -> None:
    del options["corpus"]  # as it was spelled; the function says which
    _call(options.pop("function"), options)


if __name__ == "__main__":
    sys.exit(main())
