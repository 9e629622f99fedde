"""What the flags of several commands have in common: kinds of values, and flags that stand together."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saml.cli.stage_table import PATHS


def settings(text: str) -> dict[str, Any]:
    """A JSON object given on the command line, or in a file as @path."""
    try:
        content = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError, RecursionError) as error:
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


def add_settings(command: argparse.ArgumentParser, sections: str) -> None:
    """Add --experiment and, unless no `sections` of the config are wanted, --settings."""
    command.add_argument("--experiment", required=True, help="name of the experiment")
    if sections:
        command.add_argument(
            "--settings",
            required=True,
            type=settings,
            metavar="JSON",
            help=f"a JSON object, or @file, with the config's {sections}",
        )


def add_paths(command: argparse.ArgumentParser, names: Sequence[str], *, required: bool = True) -> None:
    """Add the path flags with these names of `PATHS`."""
    for name in names:
        command.add_argument(f"--{name}", required=required, type=Path, metavar="PATH", help=PATHS[name])


def add_names(command: argparse.ArgumentParser) -> None:
    """Add the names that a run record holds beside the experiment's."""
    command.add_argument("--corpus", help="name of the corpus, for the run record")
    command.add_argument("--family", help="family of the recogniser, for the run record")


def add_threads(command: argparse.ArgumentParser) -> None:
    """Add --threads, which `running.run` takes away again."""
    command.add_argument(
        "--threads",
        type=positive,
        default=1,
        help="threads of this job; part of what decides its bytes (default 1)",
    )
