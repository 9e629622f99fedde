"""The commands that show what was found: tables, figures, MLflow."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saml.cli.arguments import add_names, add_paths, add_settings, add_threads, settings
from saml.cli.dispatch import call, run
from saml.cli.stage_table import PATHS

_TABLES = ("wer", "summary", "comparisons", "intervals")
_DRAWN = ("pages", "output-dir")


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
    _add_show_published(commands)
    _add_show_rates(commands)
    _add_track(commands)


def _add_tabulate(commands: Any) -> None:
    _add_stage(
        commands,
        "tabulate",
        "saml.reporting.tables:tabulate",
        help="tables from hypotheses",
        description="Make the tables.",
        paths=("results", *_TABLES, "pages"),
    )


def _add_enrolment(commands: Any) -> None:
    command = _add_stage(
        commands,
        "enrolment",
        "saml.reporting.enrolment:enrolment",
        help="word error rates by number of training utterances: a table and a figure",
        description="Make the table of the enrolment curve and draw it.",
        paths=("results", "enrolment", *_DRAWN),
    )
    command.add_argument(
        "--sizes", required=True, nargs="*", type=int, help="numbers of utterances in <results>/enrolment"
    )
    command.add_argument("--own-size", type=int, help="the number of <results> itself (all of them)")
    _add_reference(command)


def _add_ablation(commands: Any) -> None:
    command = _add_stage(
        commands,
        "ablation",
        "saml.reporting.ablation:ablation",
        help="arms that differ in one thing, side by side: a table and a figure",
        description="Make the table of the ablation and draw it.",
        paths=("results", "ablation", *_DRAWN),
    )
    command.add_argument(
        "--questions", required=True, type=settings, metavar="JSON", help="question to the arms under it"
    )
    _add_reference(command)


def _add_pruning(commands: Any) -> None:
    _add_stage(
        commands,
        "pruning",
        "saml.reporting.pruning:pruning",
        help="word error rates by number of experts kept: a table and a figure",
        description="Make the table of the pruned adapters in <results>/pruned and draw it.",
        paths=("results", "pruning", *_DRAWN),
    )


def _add_encodings(commands: Any) -> None:
    _add_stage(
        commands,
        "embeddings",
        "saml.reporting.embeddings:embeddings",
        help="encoder outputs by speaker: a table and a figure (t-SNE)",
        description="Judge and draw the encoder outputs in <results>/embeddings.",
        paths=("results", "silhouettes", *_DRAWN),
    )


def _add_routing(commands: Any) -> None:
    command = _add_stage(
        commands,
        "routing",
        "saml.reporting.routing:routing",
        help="where routers send speech: tables and a figure",
        description="Make the tables of routes and draw them.",
        paths=("results", "routing", "routers", *_DRAWN),
        factors=False,
    )
    command.add_argument("--arms", required=True, nargs="+", help="the arms that are routed")
    _add_speakers_and_seeds(command)


def _add_figures(commands: Any) -> None:
    _add_stage(
        commands,
        "figures",
        "saml.reporting.figures:figures",
        help="figures from tables",
        description="Draw the figures.",
        paths=("results", *_TABLES, "tables-record", "output-dir"),
        sections="",
        factors=False,
    )


def _add_transcripts(commands: Any) -> None:
    _add_stage(
        commands,
        "transcripts",
        "saml.reporting.transcripts:transcripts",
        help="texts and errors for other tools: sclite's and icefall's files",
        description="Write what was said and what was understood as sclite and icefall have it.",
        paths=("results", "transcripts"),
    )


def _add_show(commands: Any) -> None:
    command = commands.add_parser(
        "show", help="print an experiment's WER table", description="Print the results."
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.set_defaults(run=lambda options: call("saml.reporting.print_tables:show", options))


def _add_show_published(commands: Any) -> None:
    command = commands.add_parser(
        "show-published",
        help="print experiments beside the papers' figures",
        description="Print what experiments came to beside the reductions that the papers report.",
    )
    command.add_argument("experiments", type=Path, nargs="+", help="folders of experiments: results/*")
    command.add_argument("--page", type=Path, metavar="PATH", help="leave the same as an HTML page here")
    command.set_defaults(run=lambda options: call("saml.reporting.print_tables:show_published", options))


def _add_show_rates(commands: Any) -> None:
    command = commands.add_parser(
        "show-rates",
        help="print an experiment's losses by learning rate",
        description="Print what `snakemake tune` found.",
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.set_defaults(run=lambda options: call("saml.tuning.print_rates:show_rates", options))


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


def _add_stage(
    commands: Any,
    name: str,
    stage: str,
    *,
    help: str,
    description: str,
    paths: Sequence[str],
    sections: str = "section scoring",
    factors: bool = True,
) -> argparse.ArgumentParser:
    """A command that runs `stage` (module:function) and leaves a run record.

    With `factors` it takes what results differ in: arms with their entries, speakers and seeds.
    """
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=description)
    add_settings(command, sections)
    add_paths(command, (*paths, "record"))
    add_names(command)
    add_threads(command)
    if factors:
        _add_factors(command)
    command.set_defaults(run=lambda options: run(stage, options))
    return command


def _add_factors(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--arms", required=True, type=settings, metavar="JSON", help="arm to its config entry"
    )
    _add_speakers_and_seeds(command)


def _add_speakers_and_seeds(command: argparse.ArgumentParser) -> None:
    command.add_argument("--speakers", required=True, nargs="+", help="the target speakers")
    command.add_argument("--seeds", required=True, nargs="+", type=int)


def _add_reference(command: argparse.ArgumentParser) -> None:
    command.add_argument("--reference", help="the arm that the others are compared with")
