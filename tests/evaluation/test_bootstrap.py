"""The bootstrap against plain Python loops over the same drawn indices, and where the answer is known."""

import math
import random

import numpy as np
import pytest

from saml.evaluation import bootstrap as statistics


def made_counts(seed: int, sizes: list[int], columns: int = 4) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 9, size=(size, columns)) for size in sizes]


def naive_within(counts: list[np.ndarray], draws: int, seed: int) -> list[list[int]]:
    """Sums of resampled utterances, one index at a time."""
    generator = np.random.default_rng([seed, 0])
    indices = [generator.integers(0, len(table), size=(draws, len(table))) for table in counts]
    sums = []
    for draw in range(draws):
        total = [0] * counts[0].shape[1]
        for table, drawn in zip(counts, indices, strict=True):
            for index in drawn[draw]:
                for column in range(len(total)):
                    total[column] += int(table[index][column])
        sums.append(total)
    return sums


def naive_across(counts: list[np.ndarray], draws: int, seed: int) -> list[list[int]]:
    """The same with speakers resampled first; a speaker drawn twice gets two sets of utterances."""
    generator = np.random.default_rng([seed, 1])
    speakers = generator.integers(0, len(counts), size=(draws, len(counts)))
    sums = [[0] * counts[0].shape[1] for _ in range(draws)]
    for number, table in enumerate(counts):
        places = [draw for draw in range(draws) for speaker in speakers[draw] if speaker == number]
        indices = generator.integers(0, len(table), size=(len(places), len(table)))
        for place, drawn in zip(places, indices, strict=True):
            for index in drawn:
                for column in range(len(sums[0])):
                    sums[place][column] += int(table[index][column])
    return sums


@pytest.mark.parametrize("sizes", [[5, 3, 8], [1], [1, 1, 7]])
def test_sums_equal_plain_loops(sizes: list[int]) -> None:
    counts = made_counts(3, sizes)
    within = statistics.resampled_sums(counts, draws=40, seed=7)
    assert within.tolist() == naive_within(counts, 40, 7)
    across = statistics.resampled_sums(counts, draws=40, seed=7, speakers=True)
    assert across.tolist() == naive_across(counts, 40, 7)


@pytest.mark.parametrize("speakers", [False, True])
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, speakers: bool) -> None:
    counts = made_counts(4, [11, 7])
    whole = statistics.resampled_sums(counts, draws=101, seed=1, speakers=speakers)
    for chunk in (1, 13, 70, 500):
        monkeypatch.setattr(statistics, "CHUNK", chunk)
        assert np.array_equal(whole, statistics.resampled_sums(counts, draws=101, seed=1, speakers=speakers))


def test_draws_depend_on_the_seed_alone() -> None:
    counts = made_counts(5, [9, 9])
    one, again, other = (statistics.resampled_sums(counts, draws=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_spread_is_that_of_the_mathematics() -> None:
    """Resampled sums have mean sum(x) and, within speakers, variance sum over speakers of n var(x)."""
    counts = made_counts(6, [30, 50, 20], columns=1)
    sums = statistics.resampled_sums(counts, draws=20_000, seed=1)[:, 0]
    expected = sum(len(table) * float(table.var()) for table in counts)
    assert sums.mean() == pytest.approx(sum(int(table.sum()) for table in counts), rel=0.005)
    assert sums.var() == pytest.approx(expected, rel=0.05)
    # Speakers too: S times the variance of speakers' sums, plus the mean variance within (S drawn speakers).
    across = statistics.resampled_sums(counts, draws=20_000, seed=1, speakers=True)[:, 0]
    between = len(counts) * float(np.var([table.sum() for table in counts]))
    assert across.var() == pytest.approx(between + expected, rel=0.05)


def test_identical_arms_are_no_difference() -> None:
    sums = statistics.resampled_sums(made_counts(8, [6, 6], columns=2), draws=1000, seed=1)
    rates = statistics.rates(sums[:, 0], sums[:, 1])
    assert statistics.p_value(rates, rates) == 1.0
    found = statistics.interval(statistics.relative_reductions(rates, rates))
    assert (found.low, found.high) == (0.0, 0.0)


def test_an_arm_that_is_better_everywhere() -> None:
    """4 errors of 10 words against 1 of 10 in every utterance: 75 % in every draw, the smallest p."""
    table = np.tile(np.array([[4, 10, 1, 10]]), (12, 1))
    sums = statistics.resampled_sums([table, table], draws=999, seed=1)
    reference, arm = statistics.rates(sums[:, 0], sums[:, 1]), statistics.rates(sums[:, 2], sums[:, 3])
    found = statistics.interval(statistics.relative_reductions(reference, arm))
    assert (found.low, found.high) == pytest.approx((0.75, 0.75))
    assert statistics.p_value(reference, arm) == pytest.approx(2 / 1000)
    assert statistics.p_value(arm, reference) == pytest.approx(2 / 1000)


def test_p_by_hand() -> None:
    reference = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    arm = np.array([0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.5, 0.6])
    # Differences: 7 above 0, 1 equal, 1 below: min(2, 8) = 2 of 9 draws -> 2 (2 + 1) / 10.
    assert statistics.p_value(reference, arm) == pytest.approx(0.6)


def test_interval_is_of_drawn_values() -> None:
    values = list(range(1, 1001))
    random.Random(1).shuffle(values)
    found = statistics.interval(np.array(values, dtype=float))
    assert (found.low, found.high) == (25.0, 975.0)


def test_rates_and_reductions_at_the_edges() -> None:
    rates = statistics.rates(np.array([0.0, 2.0, 1.0]), np.array([0.0, 0.0, 4.0]))
    assert rates.tolist() == [0.0, math.inf, 0.25]
    reductions = statistics.relative_reductions(
        np.array([0.0, 0.0, 0.4, 0.2]), np.array([0.0, 0.1, 0.1, 0.3])
    )
    assert reductions.tolist() == pytest.approx([0.0, -math.inf, 0.75, -0.5])
    found = statistics.interval(np.array([-math.inf] * 50 + [0.0] * 50))
    assert (found.low, found.high) == (-math.inf, 0.0)


def test_memory_stays_small_at_the_size_of_the_paper() -> None:
    """100 speakers x 100 utterances x 10,000 draws: the chunks alone need memory."""
    import tracemalloc

    counts = made_counts(1, [100] * 100, columns=20)
    tracemalloc.start()
    statistics.resampled_sums(counts, draws=10_000, seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
