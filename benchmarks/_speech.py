"""Made-up speech of seeded lengths: noise that a network takes as long over as over real speech."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lhotse import MonoCut, SupervisionSegment

from saml.corpora.audio import read_cut, write_recording
from saml.features.log_mel import SAMPLING_RATE, LogMel, LogMelConfig
from saml.features.store import ArchiveWriter, store_features

TOKENS_PER_SECOND = 3.3  # of Whisper's vocabulary, in read English
# Shortest and longest utterance in seconds, and a beta distribution between them: means of 12 and of 6 s.
CORPORA = {"librispeech": (2.0, 17.0, 3.0, 1.5), "ted": (1.0, 17.0, 1.5, 3.3)}


def lengths(like: str, count: int, seed: int) -> list[float]:
    """So many utterance lengths in seconds, distributed like a corpus's; always the same for one seed."""
    low, high, a, b = CORPORA[like]
    drawn = np.random.default_rng([seed, sum(map(ord, like))]).beta(a, b, size=count)
    return [round(float(low + (high - low) * share), 2) for share in drawn]


def noise(seconds: float, seed: int) -> np.ndarray:
    """Noise whose level comes and goes as in syllables, `(samples,)` float32 at 16 kHz."""
    count = round(seconds * SAMPLING_RATE)
    level = 0.06 + 0.05 * np.sin(np.arange(count) * (2 * math.pi * 4 / SAMPLING_RATE))
    return (level * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def make_cuts(
    folder: Path, name: str, seconds: Sequence[float], *, seed: int, tail_seconds: float | None
) -> list[MonoCut]:
    """Cuts of one speaker with Whisper's features, padded to 30 s or by `tail_seconds` of silence."""
    extractor = LogMel(LogMelConfig(kind="whisper", pad_seconds=30.0, tail_seconds=tail_seconds))
    cuts = []
    with ArchiveWriter(folder / f"{name}.bin") as archive:
        for index, length in enumerate(seconds):
            utterance = f"{name}-{index}"
            path = folder / f"{utterance}.flac"
            cut = write_recording(noise(length, seed * 10_000 + index), utterance, path).to_cut()
            cut.id = utterance
            text = "ab" * max(1, round(TOKENS_PER_SECOND * length))  # a pair of letters is a token
            cut.supervisions = [
                SupervisionSegment(utterance, utterance, 0.0, cut.duration, text=text, speaker=name)
            ]
            cuts.append(store_features(cut, read_cut(cut)[0], extractor, archive))
    return cuts
