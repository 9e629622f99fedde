"""The commands that show what was found: tables, figures, MLflow."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saml.commands.arguments import add_names, add_paths, add_settings, add_threads, settings
from saml.commands.running import call, run
from saml.stages import PATHS

_TABLES = ("wer", "summary", "comparisons", "intervals")


def add(commands: Any) -> None:
    """Add the commands of this group."""
    _add_tabulate(commands)
    _add_enrolment(commands)
    _add_ablation(commands)
    _add_pruning(commands)
    _add_encodings(commands)
    _add_routing(commands)
    _add_figures(commands)
    _add_transcripts(commands)
    _add_show(commands)
    _add_show_rates(commands)
    _add_track(commands)


def _add_tabulate(commands: Any) -> None:
    command = commands.add_parser("tabulate", help="tables from hypotheses", description="Make the tables.")
    _add_common(command, paths=("results", *_TABLES, "pages"))
    _add_factors(command)
    command.set_defaults(run=lambda options: run("saml.reporting.tables:tabulate", options))


def _add_enrolment(commands: Any) -> None:
    command = commands.add_parser(
        "enrolment",
        help="word error rates by number of training utterances: a table and a figure",
        description="Make the table of the enrolment curve and draw it.",
    )
    _add_common(command, paths=("results", "enrolment", "pages", "output-dir"))
    _add_factors(command)
    command.add_argument(
        "--sizes", required=True, nargs="*", type=int, help="numbers of utterances in <results>/enrolment"
    )
    command.add_argument("--own-size", type=int, help="the number of <results> itself (all of them)")
    command.add_argument("--reference", help="the arm that the others are compared with")
    command.set_defaults(run=lambda options: run("saml.reporting.enrolment:enrolment", options))


def _add_ablation(commands: Any) -> None:
    command = commands.add_parser(
        "ablation",
        help="arms that differ in one thing, side by side: a table and a figure",
        description="Make the table of the ablation and draw it.",
    )
    _add_common(command, paths=("results", "ablation", "pages", "output-dir"))
    _add_factors(command)
    command.add_argument(
        "--questions", required=True, type=settings, metavar="JSON", help="question to the arms under it"
    )
    command.add_argument("--reference", help="the arm that the others are compared with")
    command.set_defaults(run=lambda options: run("saml.reporting.ablation:ablation", options))


def _add_pruning(commands: Any) -> None:
    command = commands.add_parser(
        "pruning",
        help="word error rates by number of experts kept: a table and a figure",
        description="Make the table of the pruned adapters in <results>/pruned and draw it.",
    )
    _add_common(command, paths=("results", "pruning", "pages", "output-dir"))
    _add_factors(command)
    command.set_defaults(run=lambda options: run("saml.reporting.pruning:pruning", options))


def _add_encodings(commands: Any) -> None:
    command = commands.add_parser(
        "encodings",
        help="encoder outputs by speaker: a table and a figure (t-SNE)",
        description="Judge and draw the encoder outputs in <results>/encodings.",
    )
    _add_common(command, paths=("results", "silhouettes", "pages", "output-dir"))
    _add_factors(command)
    command.set_defaults(run=lambda options: run("saml.reporting.encodings:encodings", options))


def _add_routing(commands: Any) -> None:
    command = commands.add_parser(
        "routing",
        help="where routers send speech: tables and a figure",
        description="Make the tables of routes and draw them.",
    )
    _add_common(command, paths=("results", "routing", "routers", "pages", "output-dir"))
    command.add_argument("--arms", required=True, nargs="+", help="the arms that are routed")
    _add_speakers_and_seeds(command)
    command.set_defaults(run=lambda options: run("saml.reporting.routing:routing", options))


def _add_figures(commands: Any) -> None:
    command = commands.add_parser("figures", help="figures from tables", description="Draw the figures.")
    _add_common(command, sections="", paths=("results", *_TABLES, "tables-record", "output-dir"))
    command.set_defaults(run=lambda options: run("saml.reporting.figures:figures", options))


def _add_transcripts(commands: Any) -> None:
    command = commands.add_parser(
        "transcripts",
        help="texts and errors for other tools: sclite's and icefall's files",
        description="Write what was said and what was understood as sclite and icefall have it.",
    )
    _add_common(command, paths=("results", "transcripts"))
    _add_factors(command)
    command.set_defaults(run=lambda options: run("saml.reporting.transcripts:transcripts", options))


def _add_show(commands: Any) -> None:
    command = commands.add_parser(
        "show", help="print an experiment's WER table", description="Print the results."
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.set_defaults(run=lambda options: call("saml.reporting.show:show", options))


def _add_show_rates(commands: Any) -> None:
    command = commands.add_parser(
        "show-rates",
        help="print an experiment's dev losses by learning rate",
        description="Print what `snakemake tune` found.",
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.set_defaults(run=lambda options: call("saml.tuning.show:show_rates", options))


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


def _add_common(
    command: argparse.ArgumentParser, *, paths: Sequence[str], sections: str = "section scoring"
) -> None:
    add_settings(command, sections)
    add_paths(command, (*paths, "record"))
    add_names(command)
    add_threads(command)


def _add_factors(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--arms", required=True, type=settings, metavar="JSON", help="arm to its config entry"
    )
    _add_speakers_and_seeds(command)


def _add_speakers_and_seeds(command: argparse.ArgumentParser) -> None:
    command.add_argument("--speakers", required=True, nargs="+", help="the target speakers")
    command.add_argument("--seeds", required=True, nargs="+", type=int)
