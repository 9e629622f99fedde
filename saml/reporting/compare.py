"""An arm in two experiments that scored the same utterances: which makes fewer errors, and is it chance?

Two experiments can differ in what arms of one experiment share, such as labels, context or the base.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from saml.evaluation.wer import OPERATIONS
from saml.reporting.csv_tables import read_table
from saml.reporting.hypotheses import decodings, read_counts, read_lines
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
    *["arm", "scorer", "first, WER %", "second, WER %", "relative WER reduction %", "p"],
    *["over speakers", "speakers better, worse, equal"],
]
KEY = ["arm", "speaker", "seed", "scorer"]


@dataclass(frozen=True)
class Common:
    """What two experiments have both: arms (and whether they are adapted), speakers, seeds, scorers."""

    arms: dict[str, dict[str, bool]]
    speakers: list[str]
    seeds: list[int]
    scorers: list[str]


def compare(
    first: Path, second: Path, arms: Sequence[str] | None = None, common_utterances: bool = False
) -> None:
    """Print the relative WER reduction of arms in the experiment `second` against the same arms in `first`.

    Only speakers, seeds and scorers that both have count.

    Args:
        first, second: `results/<experiment>`, both with tables.
        arms: the arms to compare; None: all that both have.
        common_utterances: where the experiments tested different utterances, count those that both tested.

    Raises:
        SamlError: an experiment has no tables, or unfinished or damaged ones; the two have no arm, speaker,
            seed or scorer in common, or tested a speaker on different texts, or on different utterances
            (with `common_utterances`: on none in common).
    """
    tables = [_wer_table(results) for results in (first, second)]
    common = _common(first, second, tables, arms)
    counts = [_counts(results, table, common) for results, table in zip((first, second), tables, strict=True)]
    # After the counts, which check every line.
    tested = _same_texts(first, second, common, common_utterances)
    counts = [
        table[[key in tested for key in zip(table["speaker"], table["utterance"], strict=True)]]
        for table in counts
    ]
    # A name that no arm has: the number of the experiment after a slash.
    named = [table.assign(arm=table["arm"] + f"/{number}") for number, table in enumerate(counts)]
    paired = Paired(pd.concat(named), draws=DRAWS, seed=SEED)
    rows = [_row(paired, arm, scorer) for arm in common.arms for scorer in common.scorers]
    about = (
        f"First: {first}; second: {second}. {number_of(len(tested), 'test utterance')} of "
        f"{number_of(len(common.speakers), 'speaker')}{_seeds(common.seeds)}. A positive reduction: fewer "
        "errors in the second. Its interval (95 %) and p are of a paired bootstrap that resamples utterances "
        'within speakers; "over speakers" is the interval where speakers are resampled too. '
        f"{caveat(len(common.speakers))}"
    )
    print(*aligned([HEAD, *rows]), "", *textwrap.wrap(about, 100, break_on_hyphens=False), sep="\n")


def _wer_table(results: Path) -> pd.DataFrame:
    path = results / TABLES / "wer.csv"
    table = read_table(path)
    if missing := [column for column in [*KEY, *OPERATIONS] if column not in table]:
        raise SamlError(f"{path}: column {missing[0]!r} is missing; write this table again")
    return table


def _common(first: Path, second: Path, tables: Sequence[pd.DataFrame], arms: Sequence[str] | None) -> Common:
    one, two = tables

    def both(column: str) -> list:
        return [value for value in dict.fromkeys(one[column]) if value in set(two[column])]

    have = both("arm")
    if missing := [arm for arm in arms or [] if arm not in have]:
        raise SamlError(
            f"--arms {missing[0]}: not in both experiments, which have {', '.join(have) or 'none'}"
        )
    one, two = (table[table["arm"].isin(arms or have)] for table in tables)
    for column in ("arm", "speaker", "scorer"):
        if not both(column):
            raise SamlError(f"{first} and {second} have no {column} in common: there is nothing to compare")
    # Arms without adaptation have seed 0 alone.
    adapted = {str(arm): bool((rows["seed"] != 0).all()) for arm, rows in one.groupby("arm", sort=False)}
    seeds = [int(seed) for seed in both("seed") if seed != 0]
    if not seeds and any(adapted.values()):
        without = [arm for arm, found in adapted.items() if not found]
        instead = f"; only arms without adaptation: --arms {' '.join(without)}" if without else ""
        raise SamlError(f"{first} and {second} have no seed in common{instead}")
    return Common(
        {arm: {"adapted": found} for arm, found in adapted.items()}, both("speaker"), seeds, both("scorer")
    )


def _counts(results: Path, table: pd.DataFrame, common: Common) -> pd.DataFrame:
    """The counts of the test utterances, which are those that the table of the experiment sums up."""
    found = read_counts(results, common.arms, common.speakers, common.seeds, common.scorers, heldout=False)
    test = found[found["part"] == "test"]
    sums = test.groupby(KEY)[[f"words.{operation}" for operation in OPERATIONS]].sum()
    stated = table.set_index(KEY)[list(OPERATIONS)].reindex(sums.index)
    differing = sums.index[(sums.to_numpy() != stated.to_numpy()).any(axis=1)]
    if len(differing):
        arm, speaker, seed, _ = differing[0]
        raise SamlError(
            f"{results / TABLES / 'wer.csv'}: older than the hypotheses of speaker {speaker}, arm {arm}, "
            f"seed {seed}; finish the run of this experiment first"
        )
    return test


def _same_texts(first: Path, second: Path, common: Common, common_utterances: bool) -> set[tuple[str, str]]:
    """Speaker and utterance of what both tested, with the same text.

    That is all that either tested, or with `common_utterances` at least one utterance of each speaker.

    Raises:
        SamlError: texts or, as far as they must be the same, utterances differ.
    """
    one, two = (_texts(results, common) for results in (first, second))
    both = one.keys() & two.keys()
    for key in sorted(both if common_utterances else one.keys() | two.keys()):
        if one.get(key) == two.get(key):
            continue
        if key in both:
            what, hint = f"has another text in {second}", ""
        else:
            what, hint = f"is not tested in {first if key in two else second}", "; see --common-utterances"
        speaker, utterance = key
        raise SamlError(
            f"{first} and {second}: utterance {utterance} of speaker {speaker} {what}; corpus and "
            f"partition must be the same in both{hint}"
        )
    if without := sorted(set(common.speakers) - {speaker for speaker, _ in both}):
        raise SamlError(f"{first} and {second}: no utterance of speaker {without[0]} is tested in both")
    return both


def _texts(results: Path, common: Common) -> dict[tuple[str, str], str]:
    """The reference of each test utterance, by speaker and utterance: the same in all arms and seeds."""
    arm = next(iter(common.arms))
    return {
        (str(decoding.speaker), line["utterance"]): line["reference"]
        for decoding in decodings({arm: common.arms[arm]}, common.speakers, common.seeds[:1], heldout=False)
        for line in read_lines(decoding.folder(results) / "hypotheses.jsonl")
        if line["part"] == "test"
    }


def _row(paired: Paired, arm: str, scorer: str) -> list[str]:
    before, after = (f"{arm}/{number}" for number in range(2))
    cells = paired.difference(after, before, scorer).cells()
    row = dict(zip(COMPARISON_COLUMNS, cells, strict=True))
    return [
        *[arm, scorer, percent(paired.wer(before, scorer)), percent(paired.wer(after, scorer))],
        *[with_interval(row, "rel"), p_value(row["p"])],
        *[interval(row, "rel_speakers"), better_worse_equal(row)],
    ]


def _seeds(seeds: Sequence[int]) -> str:
    return f", {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}" if seeds else ""
