"""Batches of cuts of similar length."""

import collections

import numpy as np
import pytest
import torch
from lhotse import MonoCut

from saml.features.batching import batches, by_length, collate
from saml.features.log_mel import LogMelConfig
from saml.features.store import load_features
from saml.training.data import in_order
from tests.features.cuts import stored


def rows(*seconds: float) -> list[tuple[int, MonoCut]]:
    return [(index, MonoCut(f"u{index}", 0, duration, 0)) for index, duration in enumerate(seconds)]


def names(parts: list[list[tuple[int, MonoCut]]]) -> list[list[str]]:
    return [[cut.id for _, cut in part] for part in parts]


def test_cuts_of_like_length_are_together() -> None:
    """Counted by hand: 3 x 4 s, then 3 x 2 s; a fourth cut of either kind would be more than 12 s."""
    parts = by_length(rows(2, 4, 2, 4, 2, 3.5), max_seconds=12)
    assert names(parts) == [["u1", "u3", "u5"], ["u0", "u2", "u4"]]


def test_padding_counts() -> None:
    """1 s beside 9 s is 9 s of speech that is computed."""
    assert names(by_length(rows(1, 9, 1), max_seconds=18)) == [["u1", "u0"], ["u2"]]


def test_whispers_padding_counts() -> None:
    """Eight cuts of 3 s and one of 4 s, each padded to 30 s: two at once are 60 s."""
    padded = rows(*[3.0] * 8, 4.0)
    for _, cut in padded:
        cut.custom = {"padded_frames": 3000}
    assert list(map(len, by_length(padded, max_seconds=60))) == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("frames", [140, 70, 35, 2300])
def test_cuts_that_fill_a_batch_exactly_are_together(frames: int) -> None:
    """Without rounding errors: ten times 1.4 s must be 14 s."""
    padded = rows(*[0.1] * 10)
    for _, cut in padded:
        cut.custom = {"padded_frames": frames}
    assert list(map(len, by_length(padded, max_seconds=frames / 10))) == [10]


def test_a_cut_that_is_too_long_is_alone() -> None:
    assert names(by_length(rows(1, 30, 2), max_seconds=10)) == [["u1"], ["u2", "u0"]]


def test_labels_stay_with_their_cuts() -> None:
    given = rows(1, 2, 3)
    parts = by_length(given, max_seconds=100)
    assert [[index for index, _ in part] for part in parts] == [[2, 1, 0]]
    assert by_length([], max_seconds=1) == []


def test_collate_pads_with_zeros_and_returns_lengths(tmp_path):
    cuts = stored(tmp_path, LogMelConfig("conformer"), [0.5, 0.8, 0.3])
    batch, lengths = collate(cuts)
    assert batch.shape == (3, 80, 80) and lengths.tolist() == [50, 80, 30]
    assert not batch[0, 50:].any() and not batch[2, 30:].any()
    cached = load_features(cuts)
    assert torch.equal(batch[1], cached["u1"])
    assert torch.equal(collate(cuts, cached)[0], batch)
    assert collate([cuts[0], cuts[0]])[0].shape == (2, 50, 80)


def plain_cuts(durations):
    return [
        MonoCut(id=f"u{index:03d}", start=0, duration=duration, channel=0)
        for index, duration in enumerate(durations)
    ]


DURATIONS = np.random.default_rng(3).uniform(0.5, 8.0, 300).round(2).tolist()


@pytest.mark.parametrize("count", range(1, 100))
def test_no_cut_is_lost_whatever_their_number(count: int) -> None:
    """Of 73 cuts, for example, the ninth bucket holds a single one."""
    cuts = plain_cuts(DURATIONS[:count])
    found = batches(cuts, max_utterances=1)
    assert sorted(cut.id for batch in found for cut in batch) == [cut.id for cut in cuts]


def test_batches_hold_every_cut_once_within_their_limits():
    cuts = plain_cuts(DURATIONS)
    for options in ({"max_seconds": 40}, {"max_utterances": 8}, {"max_seconds": 40, "max_utterances": 8}):
        found = batches(cuts, seed=1, **options)
        assert sorted(cut.id for batch in found for cut in batch) == [cut.id for cut in cuts]
        for batch in found:
            padded = len(batch) * max(cut.duration for cut in batch)
            assert padded <= options.get("max_seconds", 1e9)
            assert 1 <= len(batch) <= options.get("max_utterances", 1e9)


def test_batches_depend_on_seed_and_epoch_only():
    cuts = plain_cuts(DURATIONS)

    def ids(order=1, **options):
        found = batches(cuts[::order], **({"max_seconds": 40, "seed": 1} | options))
        return [[cut.id for cut in batch] for batch in found]

    assert ids() == ids(order=-1)
    assert ids() != ids(epoch=1) and ids() != ids(seed=2)
    # Not only the order of the batches differs, but their composition.
    assert len({frozenset(batch) for batch in ids()} & {frozenset(batch) for batch in ids(epoch=1)}) < 5


def test_batches_have_little_padding():
    cuts = plain_cuts(DURATIONS * 5)
    total = sum(cut.duration for cut in cuts)

    def padded(found):
        return sum(len(batch) * max(cut.duration for cut in batch) for batch in found)

    assert padded(in_order(cuts, max_seconds=40)) < 1.02 * total
    assert padded(batches(cuts, max_seconds=40)) < 1.25 * total


def test_batches_of_few_cuts_are_fully_shuffled():
    cuts = plain_cuts([2.0 + 0.01 * index for index in range(24)])
    together = collections.Counter()
    for index in range(40):
        for batch in batches(cuts, max_utterances=8, seed=1, epoch=index):
            together.update(frozenset((a.id, b.id)) for a in batch for b in batch if a.id < b.id)
    # Every pair of the 24 is in some batch.
    assert len(together) == 24 * 23 / 2


def test_a_cut_that_is_too_long_is_a_batch_alone():
    cuts = plain_cuts([50.0, 1.0, 2.0])
    for found in (in_order(cuts, max_seconds=10), batches(cuts, max_seconds=10)):
        assert sorted(len(batch) for batch in found) == [1, 2]
    assert batches([], max_seconds=10) == in_order([], max_seconds=10) == []


def test_whisper_batches_count_padding(tmp_path):
    cuts = stored(tmp_path, LogMelConfig("whisper", pad_seconds=7), [1.0, 2.0, 1.5, 1.0])
    for found in (in_order(cuts, max_seconds=14), batches(cuts, max_seconds=14)):
        assert [len(batch) for batch in found] == [2, 2]
