"""Comparisons of arms on the same utterances: rates, resampled rates, relative WER reductions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from saml.evaluation import bootstrap as statistics
from saml.evaluation.wer import relative_reduction
from saml.reporting.hypotheses import Arms

# A column of the paired counts: arm, scorer, "errors" or "words".
Column = tuple[str, str, str]

# Columns for an arm under a scorer: the cells of `wer_cells`.
WER_COLUMNS = ["seeds", "speakers", "words", "wer", "wer_low", "wer_high"]
# Columns for a comparison, the cells of `Difference.cells`, with types that allow missing cells.
TYPES = {
    **dict.fromkeys(["rel", "rel_low", "rel_high", "p", "rel_speakers_low", "rel_speakers_high"], "float64"),
    **dict.fromkeys(["speakers_better", "speakers_worse", "speakers_equal"], "Int64"),
}
COMPARISON_COLUMNS = list(TYPES)


@dataclass(frozen=True)
class Difference:
    """The relative WER reduction of an arm against a reference: the value, its intervals, its p.

    `within` is the interval from resampling utterances within speakers, `across` the one from resampling
    speakers too; `better`, `worse` and `equal` count speakers.
    """

    value: float
    within: statistics.Interval
    across: statistics.Interval
    p: float
    better: int
    worse: int
    equal: int

    def cells(self) -> list[Any]:
        """The cells of COMPARISON_COLUMNS."""
        within, across = self.within, self.across
        reduction = [self.value, within.low, within.high, self.p, across.low, across.high]
        return [*reduction, self.better, self.worse, self.equal]


class Paired:
    """Word errors of all arms and scorers, by utterance (seeds summed), and their bootstrap draws."""

    def __init__(self, counts: pd.DataFrame, *, draws: int, seed: int) -> None:
        """Pair the test rows of `saml.reporting.hypotheses.read_counts`, which has checked them."""
        table, self.columns = paired_counts(counts)
        self.speakers: list[str] = list(dict.fromkeys(table.index.get_level_values("speaker")))
        # One table (utterances, columns) per speaker.
        self.tables = [table.loc[speaker].to_numpy(dtype=np.int64) for speaker in self.speakers]
        self._draws, self._seed = draws, seed
        # (speakers, columns), (columns,), (draws, columns), (draws, columns)
        self._by_speaker = np.stack([table.sum(axis=0) for table in self.tables]).astype(np.float64)
        self._total = self._by_speaker.sum(axis=0)
        self._within = statistics.resampled_sums(self.tables, draws=draws, seed=seed)
        self._across = statistics.resampled_sums(self.tables, draws=draws, seed=seed, speakers=True)

    def wer(self, arm: str, scorer: str) -> float:
        """WER of an arm, pooled over speakers and seeds."""
        return float(self._rates(self._total, arm, scorer))

    def wer_interval(self, arm: str, scorer: str) -> statistics.Interval:
        """The interval of an arm's WER from resampling utterances within speakers."""
        return statistics.interval(self._rates(self._within, arm, scorer))

    def speaker_intervals(self, speaker: str) -> Iterator[tuple[str, str, float, statistics.Interval]]:
        """Arm, scorer, WER and its interval, for each arm and scorer of one speaker."""
        number = self.speakers.index(speaker)
        sums = statistics.resampled_sums([self.tables[number]], draws=self._draws, seed=self._seed)
        for arm, scorer in dict.fromkeys((arm, scorer) for arm, scorer, _ in self.columns):
            rate = float(self._rates(self._by_speaker[number], arm, scorer))
            yield arm, scorer, rate, statistics.interval(self._rates(sums, arm, scorer))

    def difference(self, arm: str, reference: str, scorer: str) -> Difference:
        """The relative WER reduction of `arm` against `reference`."""
        (arm_within, arm_across, arm_speakers), (ref_within, ref_across, ref_speakers) = (
            [self._rates(sums, name, scorer) for sums in (self._within, self._across, self._by_speaker)]
            for name in (arm, reference)
        )
        return Difference(
            value=relative_reduction(self.wer(reference, scorer), self.wer(arm, scorer)),
            within=statistics.interval(statistics.relative_reductions(ref_within, arm_within)),
            across=statistics.interval(statistics.relative_reductions(ref_across, arm_across)),
            p=statistics.p_value(ref_within, arm_within),
            better=int(np.sum(arm_speakers < ref_speakers)),
            worse=int(np.sum(arm_speakers > ref_speakers)),
            equal=int(np.sum(arm_speakers == ref_speakers)),
        )

    def against(self, arm: str, reference: str | None, scorer: str) -> list[Any]:
        """The reference and the reduction against it, as cells; empty for none or the arm itself."""
        if reference is None or reference == arm:
            return [None] * (1 + len(COMPARISON_COLUMNS))
        return [reference, *self.difference(arm, reference, scorer).cells()]

    def _rates(self, sums: statistics.Floats, arm: str, scorer: str) -> statistics.Floats:
        """WERs from sums `(..., columns)`."""
        errors = sums[..., self.columns.index((arm, scorer, "errors"))]
        words = sums[..., self.columns.index((arm, scorer, "words"))]
        return statistics.rates(errors, words)


def wer_cells(paired: Paired, test: pd.DataFrame, arm: str, scorer: str) -> list[Any]:
    """The cells of WER_COLUMNS, from the test rows of one arm and scorer; words of all seeds are counted."""
    words = int(test[["words.hits", "words.substitutions", "words.deletions"]].to_numpy().sum())
    interval = paired.wer_interval(arm, scorer)
    numbers = [test["seed"].nunique(), test["speaker"].nunique(), words]
    return [*numbers, paired.wer(arm, scorer), interval.low, interval.high]


def paired_counts(counts: pd.DataFrame) -> tuple[pd.DataFrame, list[Column]]:
    """Errors and words of each utterance, summed over seeds, and the meaning of the columns.

    Rows: (speaker, utterance), both sorted, so that draws depend neither on the order of lines in a file nor
    on that of speakers in the config.
    """
    words = counts.assign(
        errors=counts["words.substitutions"] + counts["words.deletions"] + counts["words.insertions"],
        words=counts["words.hits"] + counts["words.substitutions"] + counts["words.deletions"],
    )
    columns: list[Column] = []
    tables = []
    for arm in words["arm"].unique():
        for scorer in words["scorer"].unique():
            rows = words[(words["arm"] == arm) & (words["scorer"] == scorer)]
            tables.append(rows.groupby(["speaker", "utterance"], sort=True)[["errors", "words"]].sum())
            columns += [(str(arm), str(scorer), "errors"), (str(arm), str(scorer), "words")]
    return pd.concat(tables, axis=1, join="inner"), columns


def pairs(arms: Arms) -> list[tuple[str, str]]:
    """The comparisons to make, (arm, reference).

    Each arm against the unadapted full-precision and NF4 models, and each pair of adapted arms: the one
    listed later against the one listed earlier.
    """
    adapted = [name for name, arm in arms.items() if arm["adapted"]]
    found = [
        (name, reference)
        for reference in (unadapted(arms, "fp32"), unadapted(arms, "nf4"))
        if reference is not None
        for name, arm in arms.items()
        if arm["adapted"] or (reference == unadapted(arms, "fp32") and name != reference)
    ]
    return found + [(later, earlier) for i, earlier in enumerate(adapted) for later in adapted[i + 1 :]]


def unadapted(arms: Arms, precision: str) -> str | None:
    """The arm that is the unadapted model in `precision`, or None if it is not run."""
    for name, arm in arms.items():
        if arm["precision"] == precision and not arm["adapted"]:
            return name
    return None
