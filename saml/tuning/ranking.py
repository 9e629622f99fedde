"""The best learning rate, from the losses of all trials on unseen utterances. No files here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from saml.runtime.errors import SamlError
from saml.tracking import Record


@dataclass(frozen=True)
class Trial:
    """Loss of one rate of an arm's pre-training or adaptation on one tuning speaker; NaN if it diverged."""

    arm: str
    stage: str
    rate: float
    loss: float


@dataclass(frozen=True)
class Row:
    """The result of a rate: a row of rates.csv.

    `loss` is the mean over `speakers` tuning speakers, NaN where `diverged` (a count of speakers) is not 0.
    At most one rate of an arm and stage is `chosen`; `edge` marks a chosen rate that is the lowest or highest
    of the grid, so that a better one may lie outside.
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
    """The losses in a record of judge-rate, one per tuning speaker `names`; NaN where training diverged.

    Raises SamlError naming the record's file, `where`, and a speaker that has no loss in it.
    """
    losses = []
    for name in names:
        if f"{name}/loss" not in record.scores and f"{name}/diverged" not in record.scores:
            raise SamlError(f"{where}: tuning speaker {name} was not judged; run `snakemake tune` again")
        losses.append(record.scores.get(f"{name}/loss", math.nan))
    return losses


def best_rate(losses: Mapping[float, float]) -> float | None:
    """The rate with the lowest loss, on ties the lowest rate; None where no loss is finite."""
    finite = {rate: loss for rate, loss in losses.items() if math.isfinite(loss)}
    return min(finite, key=lambda rate: (finite[rate], rate), default=None)


def choose(trials: Iterable[Trial]) -> list[Row]:
    """A row for each arm, stage and rate; arms and stages in the given order, rates ascending.

    A rate at which any trial diverged is excluded: it would fail for some speaker. The grid of an arm and
    stage is the set of rates in its trials.
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
    """The unweighted mean over speakers; NaN where any loss is not finite."""
    return fmean(losses) if all(map(math.isfinite, losses)) else math.nan
