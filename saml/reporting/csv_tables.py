"""Tables as CSV files: the same bytes for the same values, and names that stay text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically

# Columns with names, which stay text even if they look like numbers ("115").
NAMES = ["experiment", "arm", "speaker", "scorer", "arm_a", "arm_b", "reference", "question", "kept"]


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, with six decimals and empty cells for missing values."""
    text = table.to_csv(index=False, float_format="%.6f", na_rep="", lineterminator="\n")
    write_atomically(path, text.encode("utf-8"))


def read_table(path: Path) -> pd.DataFrame:
    """Read a table written by `write_table`.

    Raises:
        SamlError: it is missing or damaged.
    """
    types = dict.fromkeys(NAMES, str)
    try:
        table = pd.read_csv(path, dtype=types, na_values=[""], keep_default_na=False)
    except FileNotFoundError:
        raise SamlError(f"{path}: no such table; run the experiment first") from None
    except OSError as error:
        raise SamlError(f"{path}: cannot read this table ({error.strerror})") from None
    except ValueError as error:
        raise SamlError(f"{path}: cannot read this table ({error}); write it again") from None
    return table.assign(**{name: table[name].fillna("") for name in NAMES if name in table})


def read_by_speaker(paths: Mapping[str, Path], names: Sequence[str], kind: str) -> pd.DataFrame:
    """The tables of several speakers, stacked, with a column `speaker` added.

    Args:
        paths: the file of each speaker.
        names: the columns with text; all others are numbers.
        kind: the content of the tables, for error messages.

    Raises:
        SamlError: a table is missing, damaged or empty.
    """
    tables = []
    for speaker, path in paths.items():
        try:
            table = pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False)
            table = table.astype(dict.fromkeys(table.columns.difference(list(names)), float))
        except (OSError, ValueError) as error:
            raise SamlError(f"{path}: cannot read these {kind} ({error}); write them again") from None
        if table.empty:
            raise SamlError(f"{path}: no {kind} in this table; write it again")
        tables.append(table.assign(speaker=speaker))
    return pd.concat(tables, ignore_index=True)
