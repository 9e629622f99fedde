"""Segments of long recordings: speech and silence put together by hand, and joining counted by hand."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from saml.corpora.espeak import Voice, speak
from saml.transcribe.segments import Segment, joined, speech_segments

SENTENCES = ["lay green with k three soon", "place red by m nine again", "bin blue at f two now"]


@pytest.fixture(scope="module")
def spoken() -> tuple[torch.Tensor, list[tuple[float, float]]]:
    """Three synthetic sentences with two seconds of faint noise around each, and their places in seconds."""
    rate, sentences = speak(Voice("en-us", "m2", 150, 42), SENTENCES)
    noise = np.random.default_rng(0)
    parts, places, seconds = [], [], 0.0
    for samples in sentences:
        resampled = np.interp(np.arange(0, len(samples), rate / 16_000), np.arange(len(samples)), samples)
        silence = noise.normal(0, 1e-4, 32_000)
        parts += [silence, resampled / max(1.0, np.abs(resampled).max())]
        places.append((seconds + 2.0, seconds + 2.0 + len(resampled) / 16_000))
        seconds += 2.0 + len(resampled) / 16_000
    parts.append(noise.normal(0, 1e-4, 32_000))
    return torch.from_numpy(np.concatenate(parts).astype(np.float32)), places


def test_each_sentence_is_found_and_pauses_are_left_out(
    spoken: tuple[torch.Tensor, list[tuple[float, float]]],
) -> None:
    samples, places = spoken
    found = speech_segments(samples, longest=4.0, join=True)
    assert len(found) == len(places)
    for segment, (start, end) in zip(found, places, strict=True):
        assert start - 0.5 < segment.start / 16_000 < start + 0.3
        assert end - 0.5 < segment.stop / 16_000 < end + 0.5


def test_neighbours_are_joined_as_far_as_they_fit(
    spoken: tuple[torch.Tensor, list[tuple[float, float]]],
) -> None:
    samples, places = spoken
    [whole] = speech_segments(samples, longest=30.0, join=True)
    assert whole.start / 16_000 == pytest.approx(places[0][0], abs=0.5)
    assert whole.stop / 16_000 == pytest.approx(places[-1][1], abs=0.5)


def test_unless_every_sentence_shall_stand_alone(
    spoken: tuple[torch.Tensor, list[tuple[float, float]]],
) -> None:
    samples, places = spoken
    assert len(speech_segments(samples, longest=30.0, join=False)) == len(places)


def test_speech_without_pauses_is_cut_all_the_same(
    spoken: tuple[torch.Tensor, list[tuple[float, float]]],
) -> None:
    samples, places = spoken
    start, end = (round(16_000 * second) for second in places[0])
    for_ever = samples[start + 1600 : end - 1600].repeat(12)
    found = speech_segments(for_ever, longest=5.0, join=True)
    assert all(segment.stop - segment.start <= 5 * 16_000 for segment in found)
    covered = sum(segment.stop - segment.start for segment in found)
    assert covered > 0.9 * len(for_ever)


def test_silence_has_no_segments() -> None:
    assert speech_segments(torch.zeros(16_000 * 40), longest=30.0, join=True) == []


def test_the_number_of_threads_stays() -> None:
    """In a process of its own: the first import of silero-vad sets it to one."""
    code = (
        "import torch; from saml.transcribe.segments import speech_segments; torch.set_num_threads(3); "
        "speech_segments(torch.zeros(16_000), longest=30.0, join=True); print(torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (100, [(0, 90), (100, 155)]),  # from the first on, though 50 to 140 would fit too
        (90, [(0, 90), (100, 155)]),
        (30, [(0, 40), (50, 90), (100, 140), (150, 155)]),
        (200, [(0, 155)]),
    ],
)
def test_joining(longest: int, expected: list[tuple[int, int]]) -> None:
    segments = [Segment(0, 40), Segment(50, 90), Segment(100, 140), Segment(150, 155)]
    assert joined(segments, longest) == expected
