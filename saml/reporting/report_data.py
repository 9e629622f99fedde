"""What the figures of an experiment are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from saml.reporting.agreement import about
from saml.reporting.wording import caveat, number_of


@dataclass(frozen=True)
class Report:
    """The data of the figures: the tables (see `saml.reporting.tables`) and the experiment's folder."""

    results: Path
    wer: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    intervals: pd.DataFrame

    @property
    def arms(self) -> list[str]:
        """The arms, in the order of the tables."""
        return list(dict.fromkeys(self.summary["arm"]))

    @property
    def scorers(self) -> list[str]:
        """The scorers, in the order of the tables."""
        return list(dict.fromkeys(self.summary["scorer"]))

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of the tables; 0 for arms that are not adapted."""
        return [int(seed) for seed in dict.fromkeys(self.wer["seed"])]

    @property
    def speakers(self) -> list[str]:
        """The target speakers, in the order of the tables."""
        return list(dict.fromkeys(self.wer["speaker"]))

    def whiskers(self, arm: str, speaker: str, scorer: str) -> tuple[float, float] | None:
        """The interval of a WER in per cent; `speaker` "" is the pooled one."""
        table = self.intervals
        found = table[(table["arm"] == arm) & (table["speaker"] == speaker) & (table["scorer"] == scorer)]
        if found.empty:
            return None
        return 100 * float(found["wer_low"].iloc[0]), 100 * float(found["wer_high"].iloc[0])

    def rate(self, arm: str, scorer: str) -> float:
        """The WER of an arm in per cent, words pooled over speakers and seeds."""
        table = self.summary
        return 100 * float(table[(table["arm"] == arm) & (table["scorer"] == scorer)]["wer"].iloc[0])

    def about_scorers(self, shown: Sequence[str]) -> str:
        """What a figure says of the scorers that it shows, and of those that it leaves out."""
        return about(self.scorers, shown)

    def note(self, shown: Sequence[str]) -> str:
        """The caveat under every figure of error rates, of the scorers `shown`."""
        seeds = int(self.summary["seeds"].max())
        text = f"{self.about_scorers(shown)} {number_of(seeds, 'seed')}. {caveat(len(self.speakers))}".strip()
        if self.intervals.empty:
            return text
        return f"{text}\nWhiskers: 95 % bootstrap intervals, utterances resampled within speakers."
