"""Which learning rate is best, from what all trials lose on unheard sentences. No files here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from saml.runtime.errors import SamlError
from saml.tracking import Record


@dataclass(frozen=True)
class Trial:
    """One rate of an arm's pre-training or adaptation on one tuning speaker. NaN: it diverged."""

    arm: str
    stage: str
    rate: float
    loss: float


@dataclass(frozen=True)
class Row:
    """What a rate came to: a row of rates.csv.

    `loss` is the mean over so many `speakers`, NaN where `diverged` of them have none. At most one rate of an
    arm and stage is `chosen`; `edge` says that it is the grid's lowest or highest, so that a better one may
    lie outside.
    """

    arm: str
    stage: str
    rate: float
    loss: float
    speakers: int
    diverged: int
    chosen: bool
    edge: bool


def losses_by_speaker(record: Record, names: Iterable[str], where: Path) -> list[float]:
    """What a rate that was judged loses on each tuning speaker's unheard sentences; NaN where it diverged.

    Raises SamlError naming the record's file, `where`, and a speaker on whom it was not judged.
    """
    losses = []
    for name in names:
        if f"{name}/loss" not in record.scores and f"{name}/diverged" not in record.scores:
            raise SamlError(f"{where}: tuning speaker {name} was not judged; run `snakemake tune` again")
        losses.append(record.scores.get(f"{name}/loss", math.nan))
    return losses


def best_rate(losses: Mapping[float, float]) -> float | None:
    """The rate with the lowest loss, of several the lowest rate; None where no loss is finite."""
    finite = {rate: loss for rate, loss in losses.items() if math.isfinite(loss)}
    return min(finite, key=lambda rate: (finite[rate], rate), default=None)


def choose(trials: Iterable[Trial]) -> list[Row]:
    """A row for each arm, stage and rate; arms and stages in the order given, rates ascending.

    A rate at which one trial diverged is out: it would fail for some speaker. The grid of an arm and stage is
    what its trials name.
    """
    groups: dict[tuple[str, str], dict[float, list[float]]] = {}
    for trial in trials:
        at = groups.setdefault((trial.arm, trial.stage), {})
        at.setdefault(trial.rate, []).append(trial.loss)
    return [row for (arm, stage), at in groups.items() for row in _rows(arm, stage, at)]


def _rows(arm: str, stage: str, at: Mapping[float, Sequence[float]]) -> Iterable[Row]:
    means = {rate: mean_loss(losses) for rate, losses in at.items()}
    best = best_rate(means)
    for rate in sorted(at):
        yield Row(
            arm=arm,
            stage=stage,
            rate=rate,
            loss=means[rate],
            speakers=len(at[rate]),
            diverged=sum(not math.isfinite(loss) for loss in at[rate]),
            chosen=rate == best,
            edge=rate == best and rate in (min(at), max(at)),
        )


def mean_loss(losses: Sequence[float]) -> float:
    """The mean, speakers counting alike; NaN where one has no finite loss."""
    return fmean(losses) if all(map(math.isfinite, losses)) else math.nan
