"""The paired bootstrap: intervals and p of differences of pooled word error rates.

Utterances are resampled within speakers. A draw takes the same utterances for every arm, scorer and seed, so
the variation that two arms share cancels. The counts of all arms are therefore columns of one table per
speaker, and every comparison uses the same resampled sums.

The results are a function of the counts and one seed. Draws are processed in chunks, so that memory stays
small; the chunk size changes no result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Indices per chunk: 16 MB of indices and 16 MB of weights, for any number of utterances.
CHUNK = 2_000_000
# The ends of a 95 % interval.
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval."""

    low: float
    high: float


def resampled_sums(counts: Sequence[Integers], *, draws: int, seed: int, speakers: bool = False) -> Floats:
    """Column sums of `draws` resampled sets of utterances, (draws, columns).

    Args:
        counts: one table per speaker, (utterances, columns); the columns are counts of arms.
        draws: number of sets.
        seed: of the generator; the two kinds of resampling use separate generators.
        speakers: also resample the speakers; a speaker that is drawn twice gets two sets of utterances.
    """
    generator = np.random.default_rng([seed, int(speakers)])
    times = draw_speakers(generator, len(counts), draws) if speakers else None
    sums = np.zeros((draws, counts[0].shape[1]))
    for number, table in enumerate(counts):
        if times is None:
            sums += _sums_within(generator, table, draws)
        else:
            # One row for each time that a draw has this speaker.
            rows = np.repeat(np.arange(draws), times[:, number])
            np.add.at(sums, rows, _sums_within(generator, table, len(rows)))
    return sums


def draw_speakers(generator: np.random.Generator, speakers: int, draws: int) -> Integers:
    """Occurrences of each speaker in each draw, (draws, speakers); every row sums to `speakers`."""
    return _occurrences(generator.integers(0, speakers, size=(draws, speakers)))


def _sums_within(generator: np.random.Generator, table: Integers, draws: int) -> Floats:
    """Column sums of `draws` resampled sets of one speaker's utterances, (draws, columns)."""
    utterances = len(table)
    sums = np.empty((draws, table.shape[1]))
    step = max(1, CHUNK // utterances)
    for start in range(0, draws, step):
        stop = min(start + step, draws)
        weights = _occurrences(generator.integers(0, utterances, size=(stop - start, utterances)))
        # (draws, utterances) @ (utterances, columns); exact, since these are sums of small integers.
        sums[start:stop] = weights.astype(np.float64) @ table.astype(np.float64)
    return sums


def _occurrences(indices: Integers) -> Integers:
    """Occurrences of each of the numbers 0..n-1 in each row of n `indices`, (rows, n)."""
    rows, width = indices.shape
    flat = (indices + np.arange(rows)[:, np.newaxis] * width).ravel()
    return np.bincount(flat, minlength=rows * width).reshape(rows, width)


def rates(errors: Floats, units: Floats) -> Floats:
    """Error rates, elementwise; without reference units 0 if there is no error and infinity otherwise."""
    empty = np.where(errors == 0, 0.0, np.inf)
    return np.divide(errors, units, out=empty, where=units > 0)


def relative_reductions(reference: Floats, arm: Floats) -> Floats:
    """`saml.evaluation.wer.relative_reduction`, elementwise."""
    infinite = np.full_like(arm, -np.inf)
    reductions = np.divide(reference - arm, reference, out=infinite, where=reference > 0)
    # Equal rates are no reduction, also where both are 0.
    return np.where(arm == reference, 0.0, reductions)


def interval(values: Floats) -> Interval:
    """The 95 % percentile interval of bootstrap values.

    Its ends are drawn values, not interpolated ones: an infinite value then cannot make them NaN.
    """
    low, high = np.quantile(values, TAILS, method="inverted_cdf")
    return Interval(float(low), float(high))


def p_value(reference: Floats, arm: Floats) -> float:
    """Two-sided p of "no difference" from the n resampled error rates of two arms.

    With d = reference - arm it is min(1, 2 (min(#d <= 0, #d >= 0) + 1) / (n + 1)).
    """
    smaller = min(int(np.sum(reference <= arm)), int(np.sum(reference >= arm)))
    return min(1.0, 2.0 * (smaller + 1) / (len(arm) + 1))
