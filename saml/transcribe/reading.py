"""Recordings of any length as samples: kept in a file, so that hours of speech need little memory."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from saml.audio.reader import read_audio
from saml.corpora.utterance_checks import warn
from saml.features.log_mel import SHORTEST_SECONDS
from saml.runtime.errors import SamlError

STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Recorded:
    """A recording: its path as given, and its samples `(samples,)`, float32 at 16 kHz."""

    path: Path
    samples: Tensor
    seconds: float


def read_recording(path: Path, folder: Path) -> Recorded:
    """Decode a recording of any format and length into a file in `folder`; "-" is standard input.

    Raises SamlError where it is not audio, is damaged, or is too short for speech.
    """
    source = _standard_input(folder) if path == STANDARD_INPUT else path
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".f32", delete=False) as file:
        audio = read_audio(source, lambda block: file.write(block.tobytes()))
    warn(path, audio.warning)
    if audio.seconds < SHORTEST_SECONDS:
        raise SamlError(f"{path}: lasts {audio.seconds:.3f} s, which is too short for speech")
    samples = np.memmap(file.name, np.float32, mode="r+")
    Path(file.name).unlink()  # its space is free again once the samples are no longer used
    return Recorded(path, torch.from_numpy(samples), audio.seconds)


def _standard_input(folder: Path) -> Path:
    """What is sent to standard input, in a file: formats are told by a look at the whole."""
    if sys.stdin is None:
        raise SamlError("-: there is no standard input, it is closed; name a file, or send a recording to it")
    path = folder / "standard input"
    with path.open("wb") as file:
        _copy(sys.stdin.buffer, file)
    return path


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while block := source.read(1 << 20):
        target.write(block)
