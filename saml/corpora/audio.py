"""Recordings of utterances: used in place, or converted to 16 kHz mono, and the audio of their cuts."""

import os
from pathlib import Path

import numpy as np
import soundfile
from lhotse import AudioSource, MonoCut, Recording
from lhotse.audio.backend import audio_backend
from lhotse.utils import compute_num_samples

from saml.audio import SAMPLING_RATE
from saml.audio.reader import Audio, Unusable, plain_samples, read_audio, read_part, read_samples
from saml.runtime.errors import SamlError

# Bytes of a file name on the usual file systems.
_LONGEST_NAME = 255


def read_recording(path: Path, utterance: str, converted: Path) -> tuple[Recording, Audio]:
    """The recording of an utterance, at 16 kHz with one channel, and what was found in it.

    The file is decoded once. If it has this format it is used in place, otherwise it is written to
    `converted`, as 16-bit FLAC.

    Raises Unusable where the file cannot be used as speech.
    """
    if plain_samples(path) is not None and _can_be_listed(path):
        audio = read_audio(path)
        return describe(path, utterance, audio.samples), audio
    _make_folder(converted, utterance)
    try:
        with _flac(converted) as file:
            audio = read_audio(path, lambda block: file.write(_in_range(block)))
    except BaseException:
        converted.unlink(missing_ok=True)
        raise
    return describe(converted, utterance, audio.samples), audio


def open_recording(path: Path, utterance: str) -> Recording | None:
    """The recording of a file that can be used in place, from its header; None for any other file.

    Raises Unusable where the file is missing, cannot be opened, or is truncated by its header. For stages
    that decode its audio later.
    """
    samples = plain_samples(path)
    return None if samples is None or not _can_be_listed(path) else describe(path, utterance, samples)


def read_cut(cut: MonoCut) -> tuple[np.ndarray, str]:
    """The audio of a cut, `(samples,)` float32 at 16 kHz, and its checksum, equal for equal recordings.

    Copies at another speed are read by lhotse, and have no checksum of their own.

    Raises Unusable where the file is not what its manifest says, or cannot be used as speech.
    """
    path = Path(cut.recording.sources[0].source)
    if cut.recording.transforms:
        with audio_backend("LibsndfileBackend"):
            return np.asarray(cut.load_audio()[0]), ""
    start, count = compute_num_samples(cut.start, SAMPLING_RATE), cut.num_samples
    if start == 0 and count == cut.recording.num_samples:
        samples, audio = read_samples(path)
        checksum = audio.checksum
    else:
        samples, checksum = read_part(path, start, count)
    if len(samples) != count:
        raise Unusable(path, f"has {len(samples)} samples, and its manifest says {count}: it was changed")
    return samples, checksum


def write_recording(samples: np.ndarray, utterance: str, path: Path) -> Recording:
    """Write samples `(samples,)` in [-1, 1] at 16 kHz as 16-bit FLAC; returns the recording.

    Raises SamlError when a part of the path is too long for a file name.
    """
    _make_folder(path, utterance)
    with _flac(path) as file:
        file.write(_in_range(samples))
    return describe(path, utterance, len(samples))


def describe(path: Path, utterance: str, samples: int) -> Recording:
    """The lhotse recording of a 16 kHz mono file of `samples` samples; a relative path stays relative."""
    return Recording(
        id=utterance,
        sources=[AudioSource(type="file", channels=[0], source=str(path))],
        sampling_rate=SAMPLING_RATE,
        num_samples=samples,
        duration=samples / SAMPLING_RATE,
        channel_ids=[0],
    )


def _flac(path: Path) -> soundfile.SoundFile:
    return soundfile.SoundFile(path, "w", SAMPLING_RATE, 1, subtype="PCM_16", format="FLAC")


def _in_range(samples: np.ndarray) -> np.ndarray:
    """Resampling can overshoot at peaks."""
    return np.clip(samples, -1.0, 1.0)


def _make_folder(path: Path, utterance: str) -> None:
    if max(len(os.fsencode(name)) for name in path.parts) > _LONGEST_NAME:
        raise SamlError(
            f"utterance {utterance[:40]!r}...: its id or its speaker's id is too long for a file name; "
            "shorten it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)


def _can_be_listed(path: Path) -> bool:
    """Whether a manifest, which is UTF-8 text, can hold this path."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
