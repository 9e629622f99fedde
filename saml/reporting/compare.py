"""An arm in two experiments that scored the same utterances: which makes fewer errors, and is it chance?

Two experiments can differ in what arms of one experiment share, such as labels, context or the base.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from saml.reporting.csv_tables import read_table
from saml.reporting.hypotheses import read_counts
from saml.reporting.pairs import COMPARISON_COLUMNS, Paired
from saml.reporting.print_tables import aligned
from saml.reporting.wording import (
    better_worse_equal,
    caveat,
    interval,
    number_of,
    p_value,
    percent,
    with_interval,
)
from saml.runtime.errors import SamlError
from saml.runtime.layout import TABLES

# Of the bootstrap; the numbers of the default experiment.
DRAWS, SEED = 10_000, 1
HEAD = [
    *["arm", "scorer", "first, WER %", "second, WER %", "reduction %", "p"],
    *["over speakers", "speakers better, worse, equal"],
]


class Common(NamedTuple):
    """What two experiments have both: arms (and whether they are adapted), speakers, seeds, scorers."""

    arms: dict[str, dict[str, bool]]
    speakers: list[str]
    seeds: list[int]
    scorers: list[str]


def compare(first: Path, second: Path, arms: Sequence[str] | None = None) -> None:
    """Print the relative WER reduction of arms in the experiment `second` against the same arms in `first`.

    Args:
        first, second: `results/<experiment>`, both with tables.
        arms: the arms to compare; None: all that both have.

    Raises:
        SamlError: an experiment has no tables or a damaged file, they have no arm, speaker, seed or scorer in
            common, or they tested a speaker on different utterances.
    """
    common = _common(first, second, arms)
    counts = [_counts(results, common) for results in (first, second)]
    _check_same_utterances(first, second, counts)
    renamed = [table.assign(arm=table["arm"] + f"/{number}") for number, table in enumerate(counts)]
    paired = Paired(pd.concat(renamed), draws=DRAWS, seed=SEED)
    rows = [_row(paired, arm, scorer) for arm in common.arms for scorer in common.scorers]
    utterances = len(counts[0].drop_duplicates(["speaker", "utterance"]))
    seeds = f", seed {', '.join(map(str, common.seeds))}" if common.seeds else ""
    about = (
        f"The second is {second}, the first {first}: {number_of(utterances, 'test utterance')} of "
        f"{number_of(len(common.speakers), 'speaker')}{seeds}. Positive: the second makes fewer errors. "
        "Intervals (95 %) are of a paired bootstrap, which resamples utterances within speakers, or "
        f"speakers too. {caveat(len(common.speakers))}"
    )
    print(*aligned([HEAD, *rows]), "", *textwrap.wrap(about, 100, break_on_hyphens=False), sep="\n")


def _common(first: Path, second: Path, arms: Sequence[str] | None) -> Common:
    one, two = (read_table(results / TABLES / "wer.csv") for results in (first, second))

    def both(column: str, named: str) -> list:
        found = [value for value in dict.fromkeys(one[column]) if value in set(two[column])]
        if not found:
            raise SamlError(f"{first} and {second} have no {named} in common: there is nothing to compare")
        return found

    have = both("arm", "arm")
    if missing := [arm for arm in arms or [] if arm not in have]:
        raise SamlError(f"--arms {missing[0]}: not in both experiments, which have {', '.join(have)}")
    # Arms without adaptation have seed 0 alone.
    one, two = (table[table["arm"].isin(arms or have)] for table in (one, two))
    adapted = {str(arm): bool((rows["seed"] != 0).all()) for arm, rows in one.groupby("arm", sort=False)}
    seeds = [int(seed) for seed in both("seed", "seed") if seed != 0]
    if not seeds and any(adapted.values()):
        raise SamlError(
            f"{first} and {second} have no seed in common: only arms without adaptation can be compared"
        )
    speakers, scorers = both("speaker", "speaker"), both("scorer", "scorer")
    return Common({arm: {"adapted": found} for arm, found in adapted.items()}, speakers, seeds, scorers)


def _counts(results: Path, common: Common) -> pd.DataFrame:
    """The counts of the common test utterances; words are those of the reference."""
    table = read_counts(results, *common, heldout=False)
    test = table[table["part"] == "test"]
    return test.assign(units=test["words.hits"] + test["words.substitutions"] + test["words.deletions"])


def _check_same_utterances(first: Path, second: Path, counts: Sequence[pd.DataFrame]) -> None:
    one, two = (
        table.drop_duplicates(["speaker", "utterance", "scorer"])
        .set_index(["speaker", "utterance", "scorer"])["units"]
        .sort_index()
        for table in counts
    )
    if not one.equals(two):
        differing = one.index.symmetric_difference(two.index)
        if differing.empty:
            differing = one.index[(one != two).to_numpy()]
        speaker, utterance, _ = differing[0]
        raise SamlError(
            f"{first} and {second}: speaker {speaker} was tested on different utterances or texts, such as "
            f"{utterance}; only what both have scored can be compared"
        )


def _row(paired: Paired, arm: str, scorer: str) -> list[str]:
    before, after = (f"{arm}/{number}" for number in range(2))
    cells = paired.difference(after, before, scorer).cells()
    row = dict(zip(COMPARISON_COLUMNS, cells, strict=True))
    return [
        *[arm, scorer, percent(paired.wer(before, scorer)), percent(paired.wer(after, scorer))],
        *[with_interval(row, "rel"), p_value(row["p"])],
        *[interval(row, "rel_speakers"), better_worse_equal(row)],
    ]
