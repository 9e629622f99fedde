"""Batches of cuts of like length."""

import subprocess
import sys

import pytest
from lhotse import MonoCut

from saml.features.batching import by_length


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


def test_silence_that_a_whisper_wants_is_speech_too() -> None:
    """Eight cuts of 3 s and one of 4 s, each padded to 30 s: two at once are 60 s."""
    padded = rows(*[3.0] * 8, 4.0)
    for _, cut in padded:
        cut.custom = {"padded_frames": 3000}
    assert list(map(len, by_length(padded, max_seconds=60))) == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("frames", [140, 70, 35, 2300])
def test_what_fits_exactly_is_together(frames: int) -> None:
    """A hundredth is no number of a computer's: ten times 1.4 s must be 14 s all the same."""
    padded = rows(*[0.1] * 10)
    for _, cut in padded:
        cut.custom = {"padded_frames": frames}
    assert list(map(len, by_length(padded, max_seconds=frames / 10))) == [10]


def test_a_cut_that_is_too_long_is_alone() -> None:
    assert names(by_length(rows(1, 30, 2), max_seconds=10)) == [["u1"], ["u2", "u0"]]


def test_whose_a_cut_is_goes_with_it() -> None:
    given = rows(1, 2, 3)
    parts = by_length(given, max_seconds=100)
    assert [[index for index, _ in part] for part in parts] == [[2, 1, 0]]
    assert by_length([], max_seconds=1) == []


def test_the_training_loop_is_there_without_lhotse() -> None:
    """On a machine that only trains from batches at hand: benchmarks on a GPU."""
    code = "import sys; sys.modules['lhotse'] = None; import saml.training.engine"
    subprocess.run([sys.executable, "-c", code], check=True)
