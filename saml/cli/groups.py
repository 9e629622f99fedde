"""The commands in groups: what `saml --help` lists, and the form of each command's help."""

import argparse
import shutil
import textwrap
from typing import Any, Protocol

from saml.cli import report_commands, setup_commands, stage_commands, user_commands
from saml.cli.examples import EXAMPLES, STAGE, epilogue


class _Module(Protocol):
    """A module that adds commands."""

    def add(self, commands: Any, /) -> None: ...


# Commands for people first, then the stages. The example is of the group's most used command.
GROUPS: tuple[tuple[str, _Module, str], ...] = (
    ("Use: adapt a model to recordings of your own", user_commands, EXAMPLES["personalise"]),
    (
        "Run: prepare an experiment; Snakemake runs it",
        setup_commands,
        f"{EXAMPLES['doctor']}\nsnakemake --cores 2 all --configfile config/an4-whisper.yaml",
    ),
    ("Inspect: look at a run and its results", report_commands, EXAMPLES["show"]),
    ("Stages of the pipeline, which Snakemake calls", stage_commands, STAGE),
)


class _Listed:
    """Takes the place of argparse's subparsers for one group: notes the summary of each command."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands
        self.summaries: dict[str, str] = {}

    def add_parser(self, name: str, *, help: str, description: str) -> argparse.ArgumentParser:
        """A parser for a command, with an example below its options."""
        self.summaries[name] = help
        parser: argparse.ArgumentParser = self._commands.add_parser(
            name,
            description=_filled(description),
            epilog=epilogue(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return parser


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add all commands to `parser`, and the list of them in groups, with an example of each group.

    argparse itself can list commands only without groups.
    """
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="command", prog=parser.prog, help=argparse.SUPPRESS
    )
    parser.usage = f"{parser.prog} [-h] [--version] command ..."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _filled(parser.description or "")
    sections = []
    for title, module, example in GROUPS:
        listed = _Listed(commands)
        module.add(listed)
        lines = [_line(name, summary) for name, summary in listed.summaries.items()]
        sections.append("\n".join([title, *lines, "  Example:", textwrap.indent(example, "    ")]))
    sections.append("`saml <command> --help` explains a command, with an example.")
    parser.epilog = "\n\n".join(sections)


def _line(name: str, summary: str) -> str:
    return textwrap.fill(
        summary, _width(), initial_indent=f"  {name:<18} ", subsequent_indent=" " * 21, break_on_hyphens=False
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, _width())


def _width() -> int:
    """Characters of a line, as argparse counts them."""
    return max(40, shutil.get_terminal_size().columns - 2)
