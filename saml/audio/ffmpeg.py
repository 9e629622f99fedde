"""Audio that libsndfile does not read, such as m4a and webm, through ffmpeg where it is installed."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from saml.runtime.errors import SamlError

# Containers of sound. Playlists and scripts, which name other files, are not among them.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,amr,asf,mp3,ogg,flac,wav,caf,aiff,au,w64,avi,flv,mpegts,"
    "ape,wv,tta,ac3,eac3,dts,loas,latm"
)
_INPUT = ["-v", "error", "-protocol_whitelist", "file,pipe", "-format_whitelist", _FORMATS]
_NO_AUDIO = (
    "is not a readable audio file; convert it to WAV or FLAC (a file without a header, .raw or .pcm, needs "
    "its rate: sox -r 16000 -e signed -b 16 -c 1 IN.raw OUT.wav)"
)
# The decoded audio may be shorter than declared by so much, for players cut what an encoder adds.
_TOLERANCE_SECONDS = 0.25
_TOLERANCE_SHARE = 0.02


class NotDecodable(SamlError):
    """ffmpeg is missing or cannot decode the file; the message follows the name of the file."""


@dataclass
class FfmpegStream:
    """The first audio stream of a file.

    Attributes:
        samplerate: in Hz.
        channels: their number.
        seconds: as the container declares; None where it does not.
    """

    samplerate: int
    channels: int
    seconds: float | None
    pipe: BinaryIO
    decoded: int = 0

    def read(self, frames: int) -> np.ndarray:
        """The next samples `(frames, channels)`, float32; fewer at the end, none after it."""
        width = 4 * self.channels
        data = self.pipe.read(frames * width)
        block = np.frombuffer(data[: len(data) // width * width], np.float32).reshape(-1, self.channels)
        self.decoded += len(block)
        return block

    @property
    def is_short(self) -> bool:
        """After the last sample: whether there were fewer than declared."""
        if self.seconds is None:
            return False
        missing = self.seconds - self.decoded / self.samplerate
        return missing > _TOLERANCE_SECONDS + _TOLERANCE_SHARE * self.seconds


@contextmanager
def open_ffmpeg(path: Path, known: str | None) -> Iterator[FfmpegStream]:
    """Decode a file with ffmpeg; `known` is the name of its format, None for one that is not known here.

    Raises NotDecodable where ffmpeg is not installed, finds no audio in the file, or finds it damaged.
    """
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        if known is None:
            raise NotDecodable(_NO_AUDIO)
        raise NotDecodable(
            f"is {known}, which needs ffmpeg; install it (apt-get install ffmpeg), or convert the file to "
            "WAV or FLAC"
        )
    rate, channels, seconds = _probe(path, known)
    command = ["ffmpeg", "-nostdin", *_INPUT, "-i", f"file:{path}", "-map", "0:a:0"]
    command += ["-f", "f32le", "-c:a", "pcm_f32le", "pipe:1"]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process:
            assert process.stdout is not None
            stream = FfmpegStream(rate, channels, seconds, process.stdout)  # type: ignore[arg-type]
            try:
                yield stream
            except BaseException:
                process.kill()
                raise
            process.stdout.close()
        said.seek(0)
        if process.returncode or said.read(1):
            raise NotDecodable("is truncated or damaged")


def _probe(path: Path, known: str | None) -> tuple[int, int, float | None]:
    """Rate in Hz, channels and seconds (None: not declared) of the first audio stream."""
    command = ["ffprobe", *_INPUT, "-select_streams", "a:0", "-of", "json"]
    command += ["-show_entries", "stream=sample_rate,channels:format=duration", "-i", f"file:{path}"]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    try:
        content = json.loads(found.stdout)
        stream = content["streams"][0]
        rate, channels = int(stream["sample_rate"]), int(stream["channels"])
        seconds = content.get("format", {}).get("duration")
        return rate, channels, None if seconds is None else float(seconds)
    except (LookupError, ValueError, TypeError):
        known_reason = f"is {known}, and ffmpeg finds no audio in it: it is truncated or damaged"
        raise NotDecodable(known_reason if known else _NO_AUDIO) from None
