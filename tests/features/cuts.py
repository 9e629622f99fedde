"""Noise as speech: cuts with audio on disk, and with stored features."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from saml.corpora.audio import read_cut
from saml.features.log_mel import LogMel, LogMelConfig
from saml.features.store import ArchiveWriter, store_features


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that swells and fades, with silence in between: `(samples,)` float32 at 16 kHz."""
    count = round(seconds * 16_000)
    noise = np.random.default_rng(seed).standard_normal(count)
    return (0.1 * noise * np.sin(np.arange(count) / 2_000).clip(0)).astype(np.float32)


def make_cut(folder: Path, name: str, seconds: float) -> MonoCut:
    """A cut whose audio is written to `folder`."""
    path = folder / f"{name}.wav"
    samples = speechlike(seconds, seed=len(name))
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    duration = len(samples) / 16_000
    source = AudioSource(type="file", channels=[0], source=str(path))
    recording = Recording(
        id=name,
        sources=[source],
        sampling_rate=16_000,
        num_samples=len(samples),
        duration=duration,
        channel_ids=[0],
    )
    supervision = SupervisionSegment(
        id=name, recording_id=name, start=0, duration=duration, text="x", speaker="s"
    )
    return MonoCut(
        id=name, start=0, duration=duration, channel=0, supervisions=[supervision], recording=recording
    )


def stored(folder: Path, config: LogMelConfig, seconds: Sequence[float]) -> list[MonoCut]:
    """Cuts of these lengths, with features in an archive in `folder`."""
    extractor = LogMel(config)
    with ArchiveWriter(folder / "features.bin") as archive:
        cuts = [make_cut(folder, f"u{index}", length) for index, length in enumerate(seconds)]
        return [store_features(cut, read_cut(cut)[0], extractor, archive) for cut in cuts]
