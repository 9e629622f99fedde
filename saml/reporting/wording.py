"""Numbers as a person reads them, alike in the terminal and on the report's pages."""

import math
from collections.abc import Mapping
from typing import Any


def percent(rate: float) -> str:
    """A fraction as per cent with one decimal; "-" for what is missing."""
    return "-" if math.isnan(rate) else f"{100 * rate:.1f}"


def reduction(row: Mapping[Any, Any], name: str) -> str:
    """A rate or reduction with its interval, in per cent: "45.0 [36.5, 53.1]"."""
    if math.isnan(row[name]):
        return "-"
    return f"{percent(row[name])} [{percent(row[f'{name}_low'])}, {percent(row[f'{name}_high'])}]"


def p_value(value: float) -> str:
    """A p with four decimals; "-" for what is missing."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def pair(row: Mapping[Any, Any]) -> str:
    """The two arms of a comparison."""
    return f"{row['arm_a']} against {row['arm_b']}"


def better_worse_equal(row: Mapping[Any, Any]) -> str:
    """For how many speakers the first arm of a comparison is better, worse and equal."""
    # pandas reads a column in which some are missing as broken numbers.
    return ", ".join(str(int(row[f"speakers_{how}"])) for how in ("better", "worse", "equal"))
