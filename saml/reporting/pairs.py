"""Comparisons of arms on the utterances they share: rates, resampled rates, what they say of two arms."""

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

# What tables say of an arm under a scorer: the cells of `measured`.
MEASURED = ["seeds", "speakers", "words", "wer", "wer_low", "wer_high"]
# What tables say of a comparison: the cells of `Difference.cells`.
DIFFERENCE = ["rel", "rel_low", "rel_high", "p", "rel_speakers_low", "rel_speakers_high"]
SPEAKERS = ["speakers_better", "speakers_worse", "speakers_equal"]


@dataclass(frozen=True)
class Difference:
    """How far one arm's WER is below another's, as a share of the latter: the value, its intervals, its p.

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
        """Under the columns DIFFERENCE and SPEAKERS."""
        within, across = self.within, self.across
        numbers = [self.value, within.low, within.high, self.p, across.low, across.high]
        return [*numbers, self.better, self.worse, self.equal]


class Paired:
    """Word errors of all arms and scorers, by utterance (seeds summed), and their bootstrap draws."""

    def __init__(self, counts: pd.DataFrame, *, draws: int, seed: int) -> None:
        """Take the test rows of `saml.reporting.hypotheses.read_counts`, which checks that they pair up."""
        table, self.columns = paired_counts(counts)
        self.speakers: list[str] = list(dict.fromkeys(table.index.get_level_values("speaker")))
        # One (utterances, columns) table a speaker.
        self.tables = [table.loc[speaker].to_numpy(dtype=np.int64) for speaker in self.speakers]
        self._draws, self._seed = draws, seed
        # (speakers, columns), (columns,), (draws, columns), (draws, columns)
        self._by_speaker = np.stack([one.sum(axis=0) for one in self.tables]).astype(np.float64)
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
        """How far the WER of `arm` is below that of `reference`."""
        ours, theirs = self._rates(self._within, arm, scorer), self._rates(self._within, reference, scorer)
        across = statistics.relative_reductions(
            self._rates(self._across, reference, scorer), self._rates(self._across, arm, scorer)
        )
        mine, yours = (
            self._rates(self._by_speaker, arm, scorer),
            self._rates(self._by_speaker, reference, scorer),
        )
        return Difference(
            value=relative_reduction(self.wer(reference, scorer), self.wer(arm, scorer)),
            within=statistics.interval(statistics.relative_reductions(theirs, ours)),
            across=statistics.interval(across),
            p=statistics.p_value(theirs, ours),
            better=int(np.sum(mine < yours)),
            worse=int(np.sum(mine > yours)),
            equal=int(np.sum(mine == yours)),
        )

    def against(self, arm: str, reference: str | None, scorer: str) -> list[Any]:
        """The reference and how far the arm is below it, as cells; nothing against itself or nobody."""
        if reference is None or reference == arm:
            return [None] * (1 + len(DIFFERENCE) + len(SPEAKERS))
        return [reference, *self.difference(arm, reference, scorer).cells()]

    def _rates(self, sums: statistics.Floats, arm: str, scorer: str) -> statistics.Floats:
        """WERs from sums whose last axis is the columns."""
        errors = sums[..., self.columns.index((arm, scorer, "errors"))]
        words = sums[..., self.columns.index((arm, scorer, "words"))]
        return statistics.rates(errors, words)


def measured(paired: Paired, test: pd.DataFrame, arm: str, scorer: str) -> list[Any]:
    """Under the columns MEASURED, from the test rows of one arm and scorer; words are those of all seeds."""
    words = int(test[["words.hits", "words.substitutions", "words.deletions"]].to_numpy().sum())
    interval = paired.wer_interval(arm, scorer)
    whose = [test["seed"].nunique(), test["speaker"].nunique(), words]
    return [*whose, paired.wer(arm, scorer), interval.low, interval.high]


def paired_counts(counts: pd.DataFrame) -> tuple[pd.DataFrame, list[Column]]:
    """Errors and words of each utterance, summed over seeds, and what the columns are.

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
            mine = words[(words["arm"] == arm) & (words["scorer"] == scorer)]
            tables.append(mine.groupby(["speaker", "utterance"], sort=True)[["errors", "words"]].sum())
            columns += [(str(arm), str(scorer), "errors"), (str(arm), str(scorer), "words")]
    return pd.concat(tables, axis=1, join="inner"), columns


def pairs(arms: Arms) -> list[tuple[str, str]]:
    """The comparisons to make, (arm, reference).

    Each arm against full precision and against NF4 as they are, and each pair of adapted arms: the one that
    is listed later against the one that is listed earlier.
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
    """The arm that is nothing but the model in `precision`, or None where none is run."""
    for name, arm in arms.items():
        if arm["precision"] == precision and not arm["adapted"]:
            return name
    return None
