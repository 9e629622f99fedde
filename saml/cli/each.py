"""The command that runs a stage for several speakers, for jobs of several speakers."""

import argparse
from typing import Any

from saml.cli import stage_commands as stages
from saml.cli.dispatch import limit_threads


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "each",
        help="run a stage for each of several speakers, in one process",
        description="Run a stage for each of several speakers, one after another: %(prog)s and its flags, "
        "then -- and the stage's own command line, in which %%speaker%% is the speaker. What is finished is "
        "kept until all is, so that a job that failed or was killed goes on with the next speaker.",
    )
    command.add_argument(
        "--speakers", required=True, nargs="+", metavar="FOLDER", help="their folders' names"
    )
    command.add_argument(
        "--outputs", required=True, nargs="+", metavar="PATH", help="what the stage writes, with %%speaker%%"
    )
    command.add_argument(
        "--keep",
        required=True,
        metavar="PATH",
        help="folder for what is finished meanwhile, with %%speaker%%",
    )
    command.add_argument(
        "arguments", nargs="+", metavar="stage ...", help="the stage and its flags, after --"
    )
    command.set_defaults(run=_each)


def _each(options: dict[str, Any]) -> None:
    # As a stage of one speaker does: before any numerical library is imported.
    limit_threads(parse(options["arguments"])[0]["threads"])
    from saml.chunks.each import each

    each(**options, parse=parse)


def parse(arguments: list[str]) -> tuple[dict[str, Any], Any]:
    """The options of a stage's own command line, and what runs it with them."""
    parser = argparse.ArgumentParser(prog="saml each")
    stages.add(parser.add_subparsers(dest="command", required=True, metavar="stage"))
    options = vars(parser.parse_args(arguments))
    del options["command"]
    return options, options.pop("run")
