"""Whether the scorers agree in what a figure says: one panel is enough then, of the first scorer."""

from collections.abc import Sequence
from itertools import combinations

import pandas as pd


def scorers_of(table: pd.DataFrame) -> list[str]:
    """The scorers, in the order of the table."""
    return [str(scorer) for scorer in dict.fromkeys(table["scorer"])]


def with_other_order(rates: pd.DataFrame) -> list[str]:
    """The first scorer, and those under which two arms have the opposite order of WER.

    Args:
        rates: columns arm, scorer and wer, a row for each arm and scorer.
    """
    first, *others = scorers_of(rates)
    wide = rates.pivot(index="arm", columns="scorer", values="wer")
    return [first, *(other for other in others if _turned_round(wide[first], wide[other]))]


def with_other_verdicts(reductions: pd.DataFrame) -> list[str]:
    """The first scorer, and those whose verdict on any pair of arms is another.

    The verdict on a pair is one of three: the reduction's interval is above 0, below 0, or contains 0.
    Without any pair there is no scorer.

    Args:
        reductions: columns scorer, rel_low and rel_high, for each scorer the same pairs in the same order.
    """
    if reductions.empty:
        return []
    first, *others = scorers_of(reductions)
    expected = _verdicts(reductions, first)
    return [first, *(other for other in others if _verdicts(reductions, other) != expected)]


def about(scorers: Sequence[str], shown: Sequence[str]) -> str:
    """What a figure says of the one scorer that it shows and of those that it leaves out; else nothing."""
    if len(shown) != 1:
        return ""
    left = [scorer for scorer in scorers if scorer not in shown]
    agrees = f"; {' and '.join(left)} agrees" if left else ""
    return f"Scorer {shown[0]}{agrees}."


def _turned_round(one: pd.Series, other: pd.Series) -> bool:
    pairs = zip(one, other, strict=True)
    return any((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(pairs, 2))


def _verdicts(reductions: pd.DataFrame, scorer: str) -> list[int]:
    rows = reductions[reductions["scorer"] == scorer]
    ends = zip(rows["rel_low"], rows["rel_high"], strict=True)
    return [int(low > 0) - int(high < 0) for low, high in ends]
