"""The one reader of audio files: it decodes, counts, inspects and converts in one pass, block by block."""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile

from saml.audio import SAMPLING_RATE
from saml.audio.containers import Container, Length, examine, sphere_header
from saml.audio.ffmpeg import FfmpegStream, NotDecodable, open_ffmpeg
from saml.audio.resampling import BlockResampler, can_resample
from saml.audio.signal import Inspector
from saml.runtime.errors import SamlError

_BLOCK = 1 << 20  # numbers decoded at a time, all channels together
_LEAST = 1 << 12  # frames asked for where the header promises fewer
# Codes of LibsndfileError for which ffmpeg may know more: format not recognised, encoding not supported.
_OTHER_FORMATS = (1, 4)
# Beginnings of files that ffmpeg reads and libsndfile does not: the bytes, their offset, a name.
_FFMPEG_FORMATS = (
    (b"ftyp", 4, "MPEG-4 audio (m4a, mp4)"),
    (b"\x1a\x45\xdf\xa3", 0, "WebM or Matroska"),
    (b"\xff\xf1", 0, "AAC"),
    (b"\xff\xf9", 0, "AAC"),
    (b"#!AMR", 0, "AMR"),
    (b"\x30\x26\xb2\x75", 0, "Windows Media audio"),
)


class Unusable(SamlError):
    """A file that cannot be used as speech; `reason` follows its name ("is truncated")."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: the file {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Audio:
    """What a file contained.

    Attributes:
        samples: their number after conversion to 16 kHz mono.
        checksum: of the decoded signal; equal for equal recordings, whatever their container.
        warning: what the container leaves open, in words that follow the file's name, or None.
        plain: whether the file is 16 kHz mono and complete as it stands: it can be used in place.
    """

    samples: int
    checksum: str
    warning: str | None
    plain: bool

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.samples / SAMPLING_RATE


class _Source(Protocol):
    """Decoded audio, read in order."""

    @property
    def samplerate(self) -> int:
        """In Hz."""

    @property
    def channels(self) -> int:
        """Their number."""

    def read(self, frames: int) -> np.ndarray:
        """The next `(frames, channels)`, float32; fewer only at the end."""


def read_audio(path: Path, use: Callable[[np.ndarray], object] = lambda block: None) -> Audio:
    """Decode a whole file once; its audio goes to `use` in blocks `(samples,)`, float32 at 16 kHz.

    Channels are averaged. What `use` got is void when the file turns out to be unusable at its end.

    Raises Unusable where the file is missing, truncated, not audio, has no speech that a model could use
    (see `saml.audio.signal`), or a library cannot read it for whatever reason; SamlError where `use` cannot
    write.
    """
    with _opened(path) as (source, container):
        inspector = Inspector(source.channels)
        # The resampler is not needed for 16 kHz, and would hold back what it has.
        resampler = BlockResampler(source.samplerate) if source.samplerate != SAMPLING_RATE else None
        samples = 0

        def take(converted: np.ndarray) -> None:
            nonlocal samples
            samples += len(converted)
            inspector.add_converted(converted)
            try:
                use(converted)
            except (OSError, soundfile.LibsndfileError) as error:  # `_opened` would blame this file
                raise SamlError(
                    f"{path}: its audio cannot be written ({error}); look whether the disk is full"
                ) from None

        for block in _blocks(source, path):
            mono = block[:, 0] if source.channels == 1 else block.mean(axis=1)
            inspector.add_read(block, mono)
            if not inspector.finite:
                break
            take(resampler.add(mono) if resampler else mono)
        if resampler:
            take(resampler.finish())
        short = _is_short(source, container)
    if samples == 0 and inspector.finite and not short:
        raise Unusable(path, "contains no samples")
    if short and inspector.finite:
        raise Unusable(path, "is truncated")
    reason = inspector.fault()
    if reason is not None:
        raise Unusable(path, reason)
    plain = source.samplerate == SAMPLING_RATE and source.channels == 1 and _in_place(source, container)
    return Audio(samples, inspector.checksum, _warning(source, container), plain)


def read_samples(path: Path) -> tuple[np.ndarray, Audio]:
    """As `read_audio`; the whole signal `(samples,)` at 16 kHz, for recordings of a known, short length."""
    blocks: list[np.ndarray] = []
    audio = read_audio(path, blocks.append)
    return np.concatenate(blocks), audio


def read_part(path: Path, start: int, count: int) -> tuple[np.ndarray, str]:
    """`count` samples from the sample `start` of a 16 kHz mono file, `(count,)` float32, and their checksum.

    Raises Unusable where the file has fewer, or the part has no speech that a model could use.
    """
    with _opened(path) as (source, _):
        assert isinstance(source, _SoundFile)
        inspector = Inspector(1)
        block = source.part(start, count)
    if len(block) < count:
        raise Unusable(path, f"is truncated: it ends before {(start + count) / SAMPLING_RATE:.2f} s")
    inspector.add_read(block, block[:, 0])
    inspector.add_converted(block[:, 0])
    reason = inspector.fault()
    if reason is not None:
        raise Unusable(path, f"{reason}, from {start / SAMPLING_RATE:.2f} s on")
    return block[:, 0], inspector.checksum


def plain_samples(path: Path) -> int | None:
    """From its header alone: the samples of a file that can be used in place, None for any other.

    Raises Unusable where the file is missing, cannot be opened, or is truncated by its header.
    """
    with _opened(path) as (source, container):
        if not isinstance(source, _SoundFile) or not _in_place(source, container):
            return None
        if source.samplerate != SAMPLING_RATE or source.channels != 1:
            return None
        return source.frames


def _in_place(source: _Source, container: Container) -> bool:
    """Whether other readers of this file would see the same samples."""
    known = isinstance(source, _SoundFile) and container.counts and container.length is Length.COMPLETE
    return known and not container.header


@contextmanager
def _opened(path: Path) -> Iterator[tuple[_Source, Container]]:
    """The decoder for a file, after a look at its container."""
    if not path.is_file():
        raise Unusable(path, "is a folder" if path.is_dir() else _not_there(path))
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise Unusable(path, "is empty")
            container = examine(file)
            if container.length is Length.TRUNCATED:
                raise Unusable(path, "is truncated")
            shortened = "shorten" in sphere_header(file).get("sample_coding", "")
        with _decoder(path, container) as source:
            if not can_resample(source.samplerate):
                raise Unusable(
                    path,
                    f"is at {source.samplerate} Hz; convert it to a common rate, preferably "
                    f"{SAMPLING_RATE} Hz",
                )
            yield source, container
    except NotDecodable as error:
        raise Unusable(path, str(error)) from None
    except soundfile.LibsndfileError:
        if shortened:
            reason = "is compressed with shorten, which cannot be read here (sph2pipe unpacks it)"
        else:
            reason = "is truncated or damaged"
        raise Unusable(path, reason) from None
    except OSError as error:
        raise Unusable(path, f"cannot be read ({error.strerror or error})") from None


def _not_there(path: Path) -> str:
    return "is no regular file" if path.exists() else "is missing"


@contextmanager
def _decoder(path: Path, container: Container) -> Iterator[_Source]:
    """libsndfile where it knows the format, else ffmpeg."""
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        opened = None if container.ffmpeg_only else _open_soundfile(path, file, container.header)
        if opened is not None:
            with opened:
                yield _SoundFile(opened)
            return
    with open_ffmpeg(path, _format_for_ffmpeg(head, container)) as stream:
        if container.ffmpeg_only:
            stream.seconds = None  # ffmpeg estimates it from the first frames
        yield stream


def _open_soundfile(
    path: Path, file: io.BufferedReader, header: Mapping[int, bytes]
) -> soundfile.SoundFile | None:
    """The file as libsndfile opens it; None where it does not know the format."""
    try:
        # By descriptor: soundfile could not encode every name, and takes a format from some.
        return soundfile.SoundFile(_Bytes(file, header) if header else os.open(path, os.O_RDONLY))
    except soundfile.LibsndfileError as error:
        if error.code in _OTHER_FORMATS:
            return None
        raise
    # Beside its own errors soundfile raises ValueError, TypeError and others for what it cannot open.
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise Unusable(path, f"is not a readable audio file ({error})") from None


def _format_for_ffmpeg(head: bytes, container: Container) -> str | None:
    """The name of a format that ffmpeg reads and libsndfile does not; None where it is neither's."""
    if container.ffmpeg_only:
        return "MP3 with a variable bit rate and no header"
    return next((name for magic, at, name in _FFMPEG_FORMATS if head[at : at + len(magic)] == magic), None)


class _SoundFile:
    """A file that libsndfile decodes."""

    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file
        self.samplerate, self.channels, self.frames = file.samplerate, file.channels, file.frames
        self.decoded = 0

    def read(self, frames: int) -> np.ndarray:
        """As `_Source`. What is counted is what was decoded: `blocks()` returns all of its buffer."""
        # No larger than needed: libsndfile fills the rest of the buffer with zeros.
        frames = min(frames, max(self.frames - self.decoded, _LEAST))
        buffer = np.empty((frames, self.channels), np.float32)
        count = self._file.buffer_read_into(buffer.data, "float32")
        self.decoded += count
        return buffer[:count]

    def part(self, start: int, count: int) -> np.ndarray:
        """`(count, 1)` samples from `start` on, fewer where the file ends."""
        if start >= self.frames:
            return np.empty((0, self.channels), np.float32)
        if start:
            self._file.seek(start)
        return self.read(count)


class _Bytes(io.RawIOBase):
    """A file with other bytes in its header."""

    def __init__(self, file: io.BufferedReader, header: Mapping[int, bytes]) -> None:
        self._file, self._header = file, header

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        start = self._file.tell()
        data = self._file.read(len(buffer))
        for place, replaced in self._header.items():
            if place < start + len(data) and start < place + len(replaced):
                changed = bytearray(data)
                for index, byte in enumerate(replaced, start=place - start):
                    if 0 <= index < len(data):
                        changed[index] = byte
                data = bytes(changed)
        buffer[: len(data)] = data
        return len(data)


def _blocks(source: _Source, path: Path) -> Iterator[np.ndarray]:
    frames = max(1, _BLOCK // source.channels)
    while True:
        try:
            block = source.read(frames)
        except (soundfile.LibsndfileError, OSError):
            raise
        except Exception as error:  # see `_decoder`
            raise Unusable(path, f"cannot be decoded ({error})") from None
        if not len(block):
            return
        yield block


def _is_short(source: _Source, container: Container) -> bool:
    """After the last sample: whether there were fewer than the header declares."""
    if isinstance(source, FfmpegStream):
        return source.is_short
    assert isinstance(source, _SoundFile)
    return container.counts and source.decoded < source.frames


def _warning(source: _Source, container: Container) -> str | None:
    told = isinstance(source, FfmpegStream) and source.seconds is not None
    if told or container.length is not Length.UNSURE:
        return None
    return (
        f"may be truncated: {container.name} does not say how long it is, or the end is missing; "
        "check that its last words are there"
    )
