"""The losses of all rates for a terminal, and what to do with the best."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saml.reporting.csv_tables import read_table
from saml.reporting.print_tables import aligned
from saml.runtime.errors import SamlError
from saml.runtime.layout import TUNING
from saml.tuning.rates import ADAPTATION, rate_name


def show_rates(results: Path) -> None:
    """Print the results of the learning-rate sweep, from its table.

    Args:
        results: `results/<experiment>`.

    Raises:
        SamlError: there is no table yet, or it is of an older version that ranked by dev losses.
    """
    path = results / TUNING / "rates.csv"
    if not path.exists():
        remedy = "run `snakemake tune` with its configuration first" if results.is_dir() else "no such folder"
        raise SamlError(f"{path}: no table to print; {remedy}")
    table = read_table(path)
    if "loss" not in table:
        raise SamlError(f"{path}: written by an older version, from dev losses; run `snakemake tune` again")
    print("\n".join(report(results.name, table, path.with_suffix(".yaml"))))


def report(experiment: str, table: pd.DataFrame, fragment: Path) -> list[str]:
    """The lines to print."""
    grid = sorted(set(table["rate"]))
    groups = [
        (str(arm), str(stage), rows) for (arm, stage), rows in table.groupby(["arm", "stage"], sort=False)
    ]
    head = ["arm", "stage", *map(rate_name, grid), "chosen"]
    body = [[arm, stage, *(_cell(rows, rate) for rate in grid), _chosen(rows)] for arm, stage, rows in groups]
    return [
        f"{experiment}, loss by learning rate",
        "",
        *aligned([head, *body]),
        "",
        f"mean over {table['speakers'].max()} tuning speakers, on utterances used neither for training nor "
        "to select an epoch:",
        "pretraining: all their utterances; adaptation: the test parts of their folds.",
        *(note for arm, stage, rows in groups for note in _notes(arm, stage, rows)),
        "",
        f"Rates    {fragment}",
        "Use      pass that file after the configuration (--configfile ...), or copy its arms into it",
    ]


def _cell(rows: pd.DataFrame, rate: float) -> str:
    row = _one(rows[rows["rate"] == rate])
    if row is None:
        return ""
    return "diverged" if math.isnan(row["loss"]) else f"{row['loss']:.4f}"


def _chosen(rows: pd.DataFrame) -> str:
    row = _one(rows[rows["chosen"] == 1])
    if row is None:
        return "none"
    return rate_name(row["rate"]) + (" (edge)" if row["edge"] else "")


def _notes(arm: str, stage: str, rows: pd.DataFrame) -> Iterator[str]:
    """Warnings to read before freezing the rates of this arm and stage."""
    row = _one(rows[rows["chosen"] == 1])
    if row is None:
        yield f"{arm}, {stage}: every rate diverged; add lower ones to tuning.grid, or look at the logs."
    elif row["edge"]:
        yield (
            f"{arm}, {stage}: {rate_name(row['rate'])} is at the edge of the grid; a better one may lie "
            "outside: extend tuning.grid."
        )
    # A pre-training is one trial, whatever the number of speakers it is judged on.
    for diverged in rows[(rows["diverged"] > 0) & (stage == ADAPTATION)].to_dict("records"):
        share = f"{diverged['diverged']} of {diverged['speakers']}"
        yield f"{arm}, {stage}: {share} trials diverged at {rate_name(diverged['rate'])}."


def _one(rows: pd.DataFrame) -> dict[Any, Any] | None:
    found: Sequence[dict[Any, Any]] = rows.to_dict("records")
    return found[0] if found else None
