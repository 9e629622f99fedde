"""The command line: commands for people, and one command per stage.

A command's flags are the keyword arguments of its function. They are imported only when
their command runs.
"""

import argparse
import sys
from collections.abc import Sequence

from saml import __version__
from saml.cli import terminal
from saml.cli.groups import add_commands
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
        description="Adapt 4-bit speech recognisers to a speaker, with LoRA or mixtures of LoRA experts, and "
        "measure what it brings.",
    )
    parser.add_argument("--version", action="version", version=f"saml {__version__}")
    add_commands(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
