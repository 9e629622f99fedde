"""The commands that show results: tables in the terminal, MLflow."""

from pathlib import Path
from typing import Any

from saml.cli.arguments import PATHS
from saml.cli.dispatch import call


def add(commands: Any) -> None:
    """Add the commands of this group."""
    _add_show(commands)
    _add_show_published(commands)
    _add_show_rates(commands)
    _add_track(commands)


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
    # Imported here for start-up: MLflow takes seconds.
    from saml.tracking.publish import publish

    counts = publish(options.pop("results"), **options)
    print(counts)
    return 0
