"""The commands that show results: tables in the terminal, MLflow."""

from pathlib import Path
from typing import Any

from saml.cli.arguments import PATHS, positive
from saml.cli.dispatch import call


def add(commands: Any) -> None:
    """Add the commands of this group."""
    _add_show(commands)
    _add_compare(commands)
    _add_show_published(commands)
    _add_show_rates(commands)
    _add_progress(commands)
    _add_track(commands)
    _add_mlflow(commands)


def _add_show(commands: Any) -> None:
    command = commands.add_parser(
        "show", help="print an experiment's WER table", description="Print the results."
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.set_defaults(run=lambda options: call("saml.reporting.print_tables:show", options))


def _add_compare(commands: Any) -> None:
    command = commands.add_parser(
        "compare",
        help="compare arms of two experiments",
        description="Print how many fewer errors an arm makes in the second experiment than in the first, on "
        "the test utterances of both, with intervals.",
    )
    command.add_argument("first", type=Path, help=PATHS["results"])
    command.add_argument("second", type=Path, help="the other experiment's folder")
    command.add_argument("--arms", nargs="+", metavar="ARM", help="only these (default: all that both have)")
    command.add_argument(
        "--common-utterances",
        action="store_true",
        help="where their splits differ, count the utterances that both tested",
    )
    command.set_defaults(run=lambda options: call("saml.reporting.compare:compare", options))


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


def _add_progress(commands: Any) -> None:
    command = commands.add_parser(
        "progress",
        help="print how far a run is",
        description="Print how many jobs of a run of Snakemake are done, the time so far, the time left as "
        "far as it is known, and the last line of each running job's log. A run prints the same every "
        "minute; use this command from another terminal, in the folder in which Snakemake runs.",
    )
    command.add_argument("results", type=Path, help=PATHS["results"])
    command.add_argument(
        "--log", type=Path, metavar="PATH", help="log of Snakemake (default: the newest in .snakemake/log)"
    )
    command.add_argument("--follow", action="store_true", help="go on printing until interrupted")
    command.add_argument(
        "--every", type=float, default=60.0, metavar="SECONDS", help="between two reports (60)"
    )
    command.set_defaults(run=lambda options: call("saml.reporting.under_way:progress", options))


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
    from saml.tracking.interface import where_to_look
    from saml.tracking.publish import publish

    results = options.pop("results")
    counts = publish(results, **options)
    print(counts, where_to_look(counts, results, options["store"]), sep="\n")
    return 0


def _add_mlflow(commands: Any) -> None:
    command = commands.add_parser(
        "mlflow",
        help="open MLflow's interface on the runs",
        description="Publish new run records, print a link to the comparison of the runs, and start MLflow's "
        "interface; Ctrl-C ends it. The files of the runs are found after the results folder was moved, too.",
    )
    command.add_argument("results", type=Path, help="results, or one experiment's folder in it")
    command.add_argument(
        "--store", help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, else SQLite under results/mlflow)"
    )
    command.add_argument(
        "--port", type=positive, default=5000, help="port at which the interface answers (default 5000)"
    )
    command.set_defaults(run=lambda options: call("saml.tracking.interface:open_interface", options))
