"""Numbers as text, the same in the terminal, on pages and under figures."""

import math
from collections.abc import Mapping
from typing import Any


def percent(rate: float) -> str:
    """A fraction in per cent with one decimal; "-" if missing."""
    return "-" if math.isnan(rate) else f"{100 * rate:.1f}"


def with_interval(row: Mapping[Any, Any], name: str) -> str:
    """A rate or reduction with its interval, in per cent: "45.0 [36.5, 53.1]"; "-" if missing."""
    if math.isnan(row[name]):
        return "-"
    return f"{percent(row[name])} {interval(row, name)}"


def interval(row: Mapping[Any, Any], name: str) -> str:
    """An interval in per cent: "[36.5, 53.1]"."""
    return f"[{percent(row[f'{name}_low'])}, {percent(row[f'{name}_high'])}]"


def p_value(value: float) -> str:
    """A p with four decimals; "-" if missing."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def pair(row: Mapping[Any, Any]) -> str:
    """The two arms of a comparison."""
    return f"{row['arm_a']} against {row['arm_b']}"


def better_worse_equal(row: Mapping[Any, Any]) -> str:
    """The numbers of speakers for whom the first arm of a comparison is better, worse and equal."""
    # pandas reads a column with missing values as floats.
    return ", ".join(str(int(row[f"speakers_{how}"])) for how in ("better", "worse", "equal"))


def number_of(count: int, noun: str) -> str:
    """A count with its noun, e.g. "1 seed" or "2 seeds"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def caveat(speakers: int) -> str:
    """The note under every table and figure of error rates."""
    return f"{number_of(speakers, 'target speaker')} cannot speak for all speakers."
