"""What the containers of audio files say of their length: whole, cut short, or not said.

Decoders take a file that was cut short for a shorter one, and a program that writes to a pipe cannot know the
length that belongs into the header. This module compares the sizes in headers with the size of the file.
docs/audio-files.md has the table of the containers.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, NamedTuple

from saml.audio.frames import flac_samples, last_ogg_page, mp3_frames

# Bytes that may be missing: some writers count their header into the size. At most 40 ms (GSM), mostly 2 ms.
_SLACK = 64
# Chunks before the audio: more are damage.
_MOST_CHUNKS = 1_000
# Sizes of writers that do not know it: all ones, the largest positive number, and sox's.
_PLACEHOLDERS = {2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, 0x7FFFF000}
# Others write a round number near 2 GB. A file of less than half of it was not cut short from that.
_NEAR_2_GB = 1_900_000_000


class Length(Enum):
    """What a container says of its length."""

    COMPLETE = "all that the header declares is there"
    TRUNCATED = "less is there than the header declares"
    OPEN = "the header declares nothing: the audio goes on to the end of the file"
    UNSURE = "the container cannot tell, or ends as a file that was cut short"


@dataclass(frozen=True)
class Container:
    """What is known of a file before it is decoded.

    Attributes:
        name: of the container.
        length: see `Length`.
        counts: whether a decoder's number of samples is the declared one, which must then be decoded.
        header: bytes to read in place of those of the file, by offset: the size that an open header lacks.
        ffmpeg_only: whether libsndfile would read a part of it only.
    """

    name: str
    length: Length
    counts: bool = True
    header: Mapping[int, bytes] = field(default_factory=dict)
    ffmpeg_only: bool = False


class _Data(NamedTuple):
    """Where the audio is: first byte, declared bytes, offset and format of the field that declares them."""

    start: int
    declared: int
    place: int
    kind: str
    extra: int = 0  # bytes that the size counts and that are before `start`


def examine(file: BinaryIO) -> Container:
    """What the container of an open, seekable file says of its length."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    for matches, judge in _CONTAINERS:
        if matches(head):
            return judge(file, size)
    return Container("another container", Length.UNSURE)


def _judged(name: str, data: _Data | None, size: int, *, outer: int | None = None) -> Container:
    """A container whose audio is one block of bytes. `outer`: the size of the file, if its header has one."""
    if data is None:
        cut = outer is not None and not _placeholder(outer, size) and outer > size + _SLACK
        return Container(name, Length.TRUNCATED if cut else Length.COMPLETE)
    present, declared = size - data.start, data.declared - data.extra
    # An empty recording declares 0 too, but then the outer size is right.
    empty = declared <= 0 and (present <= 0 or (outer is not None and abs(outer - size) <= _SLACK))
    if not empty and (declared <= 0 or _placeholder(declared, present)):
        # libsndfile takes the largest number, too, as "up to the end".
        largest = 2 ** (8 * struct.calcsize(data.kind) - data.kind[-1].islower()) - 1
        known = struct.pack(data.kind, min(present + data.extra, largest))
        return Container(name, Length.OPEN, header={data.place: known})
    return Container(name, Length.TRUNCATED if declared > present + _SLACK else Length.COMPLETE)


def _placeholder(declared: int, present: int) -> bool:
    return declared in _PLACEHOLDERS or (declared >= _NEAR_2_GB and present < declared // 2)


def _chunks(file: BinaryIO, start: int, size: int, kind: str) -> Iterator[tuple[bytes, int, int]]:
    """(name, declared size, offset of the data) of the chunks of RIFF, AIFF (padded to even) and CAF."""
    length = struct.calcsize(kind)
    pad = 2 if length == 4 else 1
    for _ in range(_MOST_CHUNKS):
        if start + 4 + length > size:
            return
        file.seek(start)
        header = file.read(4 + length)
        (declared,) = struct.unpack(kind, header[4:])
        yield header[:4], declared, start + 4 + length
        start += 4 + length + -(-max(declared, 0) // pad) * pad


def _wave(file: BinaryIO, size: int) -> Container:
    file.seek(0)
    order = ">" if file.read(4) == b"RIFX" else "<"
    (outer,) = struct.unpack(f"{order}I", file.read(4))
    for name, declared, start in _chunks(file, 12, size, f"{order}I"):
        if name == b"data":
            data = _Data(start, declared, start - 4, f"{order}I")
            return _judged("WAV", data, size, outer=outer + 8)
    return _judged("WAV", None, size, outer=outer + 8)


def _rf64(file: BinaryIO, size: int) -> Container:
    """RF64 and BW64: the sizes are in the chunk ds64, in 64 bits."""
    outer, length, place = None, 0, 0
    for name, declared, start in _chunks(file, 12, size, "<I"):
        if name == b"ds64":
            file.seek(start)
            outer, length = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
            place = start + 8
        if name == b"data" and place:
            if declared not in (0xFFFFFFFF, 0):
                length = declared
            return _judged("RF64", _Data(start, length, place, "<Q"), size, outer=outer and outer + 8)
    return _judged("RF64", None, size, outer=outer and outer + 8)


def _wave64(file: BinaryIO, size: int) -> Container:
    """Sony Wave64: names of 16 bytes; sizes of 64 bits count the chunk's header and are padded to 8."""
    file.seek(16)
    (outer,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    start = 40
    for _ in range(_MOST_CHUNKS):
        if start + 24 > size:
            break
        file.seek(start)
        name, declared = struct.unpack("<4s12xq", file.read(24))
        if name == b"data":
            return _judged("Wave64", _Data(start + 24, declared, start + 16, "<q", 24), size, outer=outer)
        start += max(24, -(-declared // 8) * 8)
    return _judged("Wave64", None, size, outer=outer)


def _aiff(file: BinaryIO, size: int) -> Container:
    file.seek(4)
    (outer,) = struct.unpack(">I", file.read(4))
    for name, declared, start in _chunks(file, 12, size, ">I"):
        if name == b"SSND":
            return _judged("AIFF", _Data(start + 8, declared, start - 4, ">I", 8), size, outer=outer + 8)
    return _judged("AIFF", None, size, outer=outer + 8)


def _au(file: BinaryIO, size: int) -> Container:
    file.seek(0)
    order = ">" if file.read(4) == b".snd" else "<"
    start, declared = struct.unpack(f"{order}II", file.read(8).ljust(8, b"\0"))
    return _judged("AU", _Data(start, declared, 8, f"{order}I"), size)


def _caf(file: BinaryIO, size: int) -> Container:
    """Core Audio Format: sizes of 64 bits; the data begins with a count of edits, 4 bytes."""
    for name, declared, start in _chunks(file, 8, size, ">q"):
        if name == b"data":
            return _judged("CAF", _Data(start + 4, declared, start - 8, ">q", 4), size)
    return Container("CAF", Length.TRUNCATED)


def _flac(file: BinaryIO, size: int) -> Container:
    """STREAMINFO has 36 bits for the number of samples. Where they are 0, the last frame's header tells."""
    file.seek(21)
    upper, lower = struct.unpack(">BI", file.read(5).ljust(5, b"\0"))
    if upper & 0x0F or lower:
        return Container("FLAC", Length.COMPLETE)
    count = flac_samples(file, size)
    if not count:
        return Container("FLAC", Length.TRUNCATED)
    header = struct.pack(">BI", upper | count >> 32, count & 0xFFFFFFFF)
    return Container("FLAC", Length.OPEN, header={21: header})


def _sphere(file: BinaryIO, size: int) -> Container:
    """NIST SPHERE: a header of text, its own size in the second line."""
    fields = sphere_header(file)
    try:
        count, width = int(fields["sample_count"]), int(fields.get("sample_n_bytes", "2"))
        channels = int(fields.get("channel_count", "1"))
        start = int(fields[""])
    except (KeyError, ValueError):
        return Container("SPHERE", Length.UNSURE)
    packed = "shorten" in fields.get("sample_coding", "")
    cut = not packed and count * width * channels > size - start + _SLACK
    return Container("SPHERE", Length.TRUNCATED if cut else Length.COMPLETE)


def sphere_header(file: BinaryIO) -> dict[str, str]:
    """The fields of a NIST SPHERE header; "" is its size. Empty for other formats."""
    file.seek(0)
    head = file.read(1024).decode("latin-1")
    if not head.startswith("NIST_1A"):
        return {}
    lines = head.splitlines()
    fields = (line.split(maxsplit=2) for line in lines[2:])
    named = {words[0]: words[2] for words in fields if len(words) == 3}
    return {"": lines[1].strip() if len(lines) > 1 else "", **named}


def _ogg(file: BinaryIO, size: int) -> Container:
    """Ogg: the last page must be whole, and should be marked as the last one, which some phones forget."""
    page = last_ogg_page(file, size)
    if page is None or page.missing:
        return Container("Ogg", Length.TRUNCATED, counts=False)
    return Container("Ogg", Length.COMPLETE if page.marked else Length.UNSURE, counts=False)


def _mp3(file: BinaryIO, size: int) -> Container:
    frames = mp3_frames(file, size)
    if frames.header:
        return Container("MP3", Length.COMPLETE)
    # libsndfile takes the number of samples from the first frame's bit rate, and stops there.
    length = Length.UNSURE if frames.cut else Length.COMPLETE
    return Container("MP3", length, counts=False, ffmpeg_only=frames.varies)


_CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], Container]], ...] = (
    (lambda head: head[:4] in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE", _wave),
    (lambda head: head[:4] in (b"RF64", b"BW64") and head[8:12] == b"WAVE", _rf64),
    (lambda head: head.startswith(b"riff\x2e\x91\xcf\x11"), _wave64),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    (lambda head: head[:4] in (b".snd", b"dns."), _au),
    (lambda head: head[:4] == b"caff", _caf),
    (lambda head: head[:4] == b"fLaC", _flac),
    (lambda head: head[:7] == b"NIST_1A", _sphere),
    (lambda head: head[:4] == b"OggS", _ogg),
    (lambda head: head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"), _mp3),
)
