"""Audio files: checks, and conversion to 16 kHz mono."""

import math
import os
import struct
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch

from saml.compat.torchaudio import ensure
from saml.features.log_mel import SAMPLING_RATE
from saml.runtime.errors import SamlError

ensure()
from lhotse import AudioSource, Recording  # noqa: E402
from torchaudio.transforms import Resample  # noqa: E402

_BLOCK = 1 << 20  # samples read at a time
# Sampling rates that are accepted, and the largest resampling kernel. The kernel is small when the rate and
# 16 kHz have a large common divisor, and would fill the memory when they have none.
_RATES = range(4_000, 384_001)
_LARGEST_KERNEL = 1 << 25
# Full scale is 1, which floating-point files can exceed; beyond this limit squares could overflow.
_LOUDEST = 1e6
# Bytes of a file name on the usual file systems.
_LONGEST_NAME = 255


def fault(path: Path) -> str | None:
    """Why this file cannot be used as speech, in words that follow its name; None when it can.

    The whole file is decoded, because the header of an incomplete download is intact.
    """
    if not path.is_file():
        return "is missing" if not path.exists() else "is not a file"
    if path.stat().st_size == 0:
        return "is empty"
    sphere = _sphere_header(path)
    try:
        with soundfile.SoundFile(path) as file:
            declared = file.frames
            read, finite, loudest = 0, True, 0.0
            for block in file.blocks(_BLOCK, dtype="float32"):
                read += len(block)
                finite = finite and bool(np.isfinite(block).all())
                loudest = max(loudest, float(np.abs(block).max(initial=0.0)))
    except soundfile.LibsndfileError as error:
        if "shorten" in sphere.get("sample_coding", ""):
            return "is compressed with shorten, which cannot be read here (sph2pipe unpacks it)"
        # A damaged FLAC stops the decoder half-way; a file of another format is not opened at all.
        return "is truncated or damaged" if "recogni" not in str(error) else "is not a readable audio file"
    if declared == 0:
        return "contains no samples"
    if not _can_resample(file.samplerate):
        return f"is at {file.samplerate} Hz; convert it to a common rate, preferably {SAMPLING_RATE} Hz"
    if read < max(declared, int(sphere.get("sample_count", 0))) or _riff_is_cut_short(path):
        return "is truncated"
    if not finite:
        return "contains samples that are not finite"
    return None if loudest <= _LOUDEST else "contains samples far beyond full scale"


def _riff_is_cut_short(path: Path) -> bool:
    """Whether a WAV file is shorter than its header says; libsndfile reads such a file without an error."""
    with path.open("rb") as file:
        header = file.read(12)
    if len(header) < 12 or header[:4] != b"RIFF" or header[8:] != b"WAVE":
        return False
    size = struct.unpack("<I", header[4:8])[0]
    # A program that writes to a pipe does not know the size and writes 0 or all ones.
    return size not in (0, 0xFFFFFFFF) and size + 8 > path.stat().st_size + 1


def _sphere_header(path: Path) -> dict[str, str]:
    """The header fields of a NIST SPHERE file, empty for other formats.

    libsndfile does not compare the number of samples in this header with the size of the file.
    """
    with path.open("rb") as file:
        header = file.read(1024)
    if not header.startswith(b"NIST_1A"):
        return {}
    fields = (line.split(maxsplit=2) for line in header.decode("ascii", "replace").splitlines())
    return {field[0]: field[2] for field in fields if len(field) == 3}


def duration(path: Path) -> float:
    """Seconds of audio in a file that passed `fault`."""
    info = soundfile.info(path)
    return float(info.frames / info.samplerate)


def as_recording(path: Path, utterance: str, converted: Path) -> Recording:
    """The recording of an utterance, at 16 kHz with one channel, from a file that passed `fault`.

    A file in this format is used in place; otherwise a FLAC file is written to `converted`.
    """
    info = soundfile.info(path)
    if info.samplerate == SAMPLING_RATE and info.channels == 1:
        return describe(path, utterance, info.frames)
    # Channels are averaged block by block, so that an hour of eight channels fits into memory.
    with soundfile.SoundFile(path) as file:
        blocks = [block.mean(axis=1) for block in file.blocks(_BLOCK, dtype="float32", always_2d=True)]
    return write_recording(resample(np.concatenate(blocks), info.samplerate), utterance, converted)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Resample `(samples,)` from `rate` in Hz to float32 at 16 kHz."""
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if rate == SAMPLING_RATE:
        return samples
    return np.asarray(_resampler(rate)(torch.from_numpy(samples)).numpy())


def write_recording(samples: np.ndarray, utterance: str, path: Path) -> Recording:
    """Write samples `(samples,)` in [-1, 1] at 16 kHz as 16-bit FLAC; returns the recording.

    Raises SamlError when a part of the path is too long for a file name.
    """
    if max(len(os.fsencode(name)) for name in path.parts) > _LONGEST_NAME:
        raise SamlError(
            f"utterance {utterance[:40]!r}...: its id or its speaker's id is too long for a file name; "
            "shorten it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Resampling can overshoot at peaks.
    soundfile.write(path, np.clip(samples, -1.0, 1.0), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
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


def _can_resample(rate: int) -> bool:
    common = math.gcd(rate, SAMPLING_RATE)
    return rate in _RATES and rate // common * (SAMPLING_RATE // common) <= _LARGEST_KERNEL


@cache
def _resampler(rate: int) -> Resample:
    """Cached, because computing the kernel takes longer than applying it."""
    return Resample(rate, SAMPLING_RATE)
