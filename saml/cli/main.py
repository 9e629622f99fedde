"""One command per stage: `saml <stage> --help`.

A command's flags are the keyword arguments of its function. They are imported only when
their command runs.
"""

import argparse
import sys
from collections.abc import Sequence

from saml import __version__
from saml.cli import report_commands, setup_commands, stage_commands, terminal, user_commands
from saml.cli.memory import more_memory
from saml.runtime.errors import SamlError, in_one_line
from saml.runtime.watchdog import die_with_parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, or 1 after an error that the user can put right.

    A training that was asked to stop, and can go on, ends with 143 (SIGTERM) or 130 (Ctrl-C), as a shell says
    of a program that a signal ended; so do other commands after Ctrl-C, and with 141 those whose reader, such
    as `head`, has gone.
    """
    die_with_parent()
    with terminal.watched():
        try:
            return _run(arguments)
        except KeyboardInterrupt:
            print("saml: stopped by Ctrl-C", file=sys.stderr)
            return terminal.STOPPED


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command; an error that the user can put right is printed as one line."""
    options = vars(command_line().parse_args(arguments))
    command = options.pop("command")
    try:
        return int(options.pop("run")(options) or 0)
    except Exception as error:
        line = in_one_line(error, more_memory=more_memory(command))
        if line is None:
            raise
        print(f"saml {command}: error: {line}", file=sys.stderr)
        return error.status if isinstance(error, SamlError) else 1


def command_line() -> argparse.ArgumentParser:
    """The parser of all commands and their flags."""
    parser = argparse.ArgumentParser(
        prog="saml",
        description="Personalise 4-bit speech recognisers with mixtures of LoRA experts. Every stage of the "
        "pipeline is a command; Snakemake calls them, and so can you.",
    )
    parser.add_argument("--version", action="version", version=f"saml {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    # Commands for people first, then the stages.
    for group in (user_commands, setup_commands, report_commands, stage_commands):
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
