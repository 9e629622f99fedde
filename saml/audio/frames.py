"""Frames and pages of the containers without a length in their header: FLAC, Ogg, MP3."""

import struct
from typing import BinaryIO, NamedTuple

_TAIL = 1 << 17  # bytes from the end: more than the largest FLAC frame or Ogg page of speech
_OGG_PAGE = 65_307  # the largest page


class OggPage(NamedTuple):
    """The last page of an Ogg file: bytes that are missing, and whether it is marked as the last."""

    missing: int
    marked: bool


class Mp3Frames(NamedTuple):
    """What the frames of an MP3 say.

    `header`: the first one counts them (Xing, Info, VBRI). Else `cut`: the last one is not whole; `varies`:
    their bit rates differ.
    """

    header: bool = False
    cut: bool = False
    varies: bool = False


def last_ogg_page(file: BinaryIO, size: int) -> OggPage | None:
    """The last page that begins in the file; None if there is none near its end."""
    start = max(0, size - 2 * _OGG_PAGE)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return None
    header = tail[at : at + 27]
    if len(header) < 27:
        return OggPage(27 - len(header), False)
    sizes = tail[at + 27 : at + 27 + header[26]]
    whole = 27 + header[26] + sum(sizes)
    return OggPage(max(0, whole - (len(tail) - at)), bool(header[5] & 4))


def flac_samples(file: BinaryIO, size: int) -> int:
    """The number of samples of a FLAC file, from the header of its last frame; 0 if there is none."""
    file.seek(8)
    smallest, largest = struct.unpack(">HH", file.read(4).ljust(4, b"\0"))
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        found = _flac_frame(tail[at : at + 16], largest)
        if found is not None and (smallest == largest or tail[at + 1] & 1):
            return found
    return 0


def _flac_frame(header: bytes, block: int) -> int | None:
    """The samples up to the end of the frame with this header; None if it is none (RFC 9639, 9.1)."""
    if len(header) < 6 or header[1] & 0xFE != 0xF8:
        return None
    sizes, rates = header[2] >> 4, header[2] & 15
    number, at = _flac_number(header, 4)
    if number is None or sizes == 0 or rates == 15 or header[3] >> 4 > 10:
        return None
    if sizes in (6, 7):
        width = sizes - 5
        length = int.from_bytes(header[at : at + width], "big") + 1
        at += width
    else:
        length = 192 if sizes == 1 else 576 << (sizes - 2) if sizes < 6 else 256 << (sizes - 8)
    at += {12: 1, 13: 2, 14: 2}.get(rates, 0)
    if at >= len(header) or _crc8(header[:at]) != header[at]:
        return None
    return (number if header[1] & 1 else number * block) + length


def _flac_number(header: bytes, at: int) -> tuple[int | None, int]:
    """A number coded as UTF-8 codes characters, of up to 36 bits, and the offset of what follows it."""
    ones = 0
    while ones < 8 and header[at] & 0x80 >> ones:
        ones += 1
    if ones == 0:
        return header[at], at + 1
    rest = header[at + 1 : at + ones]
    if ones in (1, 8) or len(rest) < ones - 1 or any(byte & 0xC0 != 0x80 for byte in rest):
        return None, at
    number = header[at] & 0x7F >> ones
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, at + ones


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


# kbit/s by index, for MPEG 1 and for MPEG 2 and 2.5: layers I, II, III.
_RATES = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = (44_100, 48_000, 32_000)


def mp3_frames(file: BinaryIO, size: int) -> Mp3Frames:
    """Walk over the frames of an MP3, past tags at its beginning and end."""
    at = _after_tags(file)
    file.seek(at)
    if any(name in file.read(200) for name in (b"Xing", b"Info", b"VBRI")):
        return Mp3Frames(header=True)
    rates = set()
    while at + 4 <= size:
        file.seek(at)
        head = file.read(4)
        length = _mp3_length(head)
        if length is None:  # a tag, or damage, which decoding finds
            break
        rates.add(head[2] >> 4)
        at += length
    return Mp3Frames(cut=at > size, varies=len(rates) > 1)


def _after_tags(file: BinaryIO) -> int:
    """The offset behind an ID3v2 tag, whose size is in four groups of seven bits."""
    file.seek(0)
    head = file.read(10)
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))


def _mp3_length(head: bytes) -> int | None:
    """The bytes of the frame with this header; None if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = {3: 1, 2: 2, 0: 4}.get(head[1] >> 3 & 3), {3: 1, 2: 2, 1: 3}.get(head[1] >> 1 & 3)
    bits, hertz, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version is None or layer is None or bits in (0, 15) or hertz == 3:
        return None
    old = min(version, 2)
    rate = 1000 * _RATES[old, min(layer, 2) if old == 2 else layer][bits]
    if layer == 1:
        return (12 * rate * version // _HERTZ[hertz] + padding) * 4
    slots = 72 if layer == 3 and old == 2 else 144
    return slots * rate * version // _HERTZ[hertz] + padding
