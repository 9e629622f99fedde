"""The table of `saml.audio.containers`, row by row: whole files, files cut short, placeholders of sizes."""

import io
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from saml.audio.containers import Length, examine
from saml.audio.reader import Unusable, read_audio

RATE = 16_000
NOISE = (0.1 * np.random.default_rng(1).standard_normal(3 * RATE)).astype(np.float32)

# Container, codec, and what a file cut to two thirds is.
ROWS = [
    *(("WAV", codec, "truncated") for codec in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE")),
    *(("WAV", codec, "truncated") for codec in ("ALAW", "ULAW", "GSM610", "IMA_ADPCM", "MS_ADPCM")),
    ("WAVEX", "PCM_16", "truncated"),
    ("WAVEX", "FLOAT", "truncated"),
    ("RF64", "PCM_16", "truncated"),
    ("RF64", "FLOAT", "truncated"),
    ("W64", "PCM_16", "truncated"),
    ("W64", "GSM610", "truncated"),
    ("AIFF", "PCM_16", "truncated"),
    ("AIFF", "IMA_ADPCM", "truncated"),
    ("AU", "PCM_16", "truncated"),
    ("AU", "G721_32", "truncated"),
    ("CAF", "PCM_16", "truncated"),
    ("CAF", "ALAC_16", "truncated"),
    ("FLAC", "PCM_16", "truncated"),
    ("MP3", "MPEG_LAYER_III", "truncated"),
    ("OGG", "VORBIS", "truncated"),
    ("OGG", "OPUS", "truncated"),
    ("NIST", "PCM_16", "truncated"),
    ("AVR", "PCM_16", "warning"),
    ("IRCAM", "PCM_16", "warning"),
    ("MAT5", "PCM_16", "warning"),
    ("PAF", "PCM_16", "warning"),
    ("PVF", "PCM_16", "warning"),
    ("SVX", "PCM_16", "warning"),
    ("VOC", "PCM_16", "warning"),
]


def written(container: str, codec: str = "PCM_16") -> bytes:
    """Three seconds of noise as libsndfile writes them."""
    file = io.BytesIO()
    soundfile.write(file, NOISE, RATE, format=container, subtype=codec)
    return file.getvalue()


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "a file"
    path.write_bytes(data)
    return path


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(("container", "codec", "cut"), ROWS)
def test_a_whole_file_is_read_and_one_cut_to_two_thirds_is_not_taken_for_one(
    tmp_path: Path, container: str, codec: str, cut: str
) -> None:
    data = written(container, codec)
    audio = read_audio(stored(tmp_path, data))
    # Codecs with blocks fill the last one; MP3 and Opus have a delay.
    assert 0 <= audio.samples - len(NOISE) < 1024
    assert bool(audio.warning) == (cut == "warning")
    path = stored(tmp_path, data[: len(data) * 2 // 3])
    if cut == "truncated":
        with pytest.raises(Unusable, match="is truncated"):
            read_audio(path)
    else:
        assert "may be truncated" in str(read_audio(path).warning)


# The size field of the audio: container, codec, name of its chunk, bytes from the name to the field, format,
# what the size counts beside the audio.
FIELDS = {
    "WAV": ("WAV", "PCM_16", b"data", 4, "<I"),
    "WAV with GSM": ("WAV", "GSM610", b"data", 4, "<I"),
    "WAV with A-law": ("WAV", "ALAW", b"data", 4, "<I"),
    "RF64": ("RF64", "PCM_16", b"ds64", 16, "<Q"),
    "Wave64": ("W64", "PCM_16", b"data\xf3\xac", 16, "<Q"),
    "AIFF": ("AIFF", "PCM_16", b"SSND", 4, ">I"),
    "AU": ("AU", "PCM_16", b".snd", 8, ">I"),
    "CAF": ("CAF", "PCM_16", b"data", 4, ">Q"),
}
PLACEHOLDERS = [0, 2**31 - 1, 2**32 - 1, 0x7FFFF000, 2_000_000_000, 1_999_999_964, 2**63 - 1, 2**64 - 1]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("size", PLACEHOLDERS)
def test_a_placeholder_for_the_size_means_up_to_the_end(tmp_path: Path, name: str, size: int) -> None:
    container, codec, chunk, offset, kind = FIELDS[name]
    if size >= 2 ** (8 * struct.calcsize(kind)):
        pytest.skip("the field is too small")
    data = written(container, codec)
    at = data.index(chunk) + offset
    data = with_bytes(data, at, struct.pack(kind, size))
    if container == "WAV":
        # A program that writes 0 there does not know the outer size either.
        data = with_bytes(data, 4, struct.pack("<I", min(size, 2**32 - 1)))
    if container == "RF64":
        data = with_bytes(data, at - 8, struct.pack("<Q", size))
    audio = read_audio(stored(tmp_path, data))
    assert 0 <= audio.samples - len(NOISE) < 1024 and audio.warning is None
    decoded: list[np.ndarray] = []
    read_audio(tmp_path / "a file", decoded.append)
    if codec == "PCM_16":
        assert np.abs(np.concatenate(decoded) - NOISE).max() < 1e-4


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "AIFF", "W64", "RF64"])
@pytest.mark.parametrize("off", [-44, -8, -1, 1, 8, 44])
def test_an_outer_size_that_is_off_by_some_bytes_does_not_matter(
    tmp_path: Path, container: str, off: int
) -> None:
    data = written(container)
    at, kind = {"W64": (16, "<Q"), "RF64": (20, "<Q"), "AIFF": (4, ">I")}.get(container, (4, "<I"))
    (outer,) = struct.unpack_from(kind, data, at)
    changed = with_bytes(data, at, struct.pack(kind, outer + off))
    assert read_audio(stored(tmp_path, changed)).samples == len(NOISE)


def test_an_empty_recording_is_none_of_unknown_length(tmp_path: Path) -> None:
    """Both sizes of the WAV are right; what follows the audio is another chunk."""
    file = io.BytesIO()
    soundfile.write(file, np.empty(0), RATE, format="WAV")
    data = file.getvalue() + b"LIST" + struct.pack("<I", 4_000) + bytes(4_000)
    data = with_bytes(data, 4, struct.pack("<I", len(data) - 8))
    with pytest.raises(Unusable, match="contains no samples"):
        read_audio(stored(tmp_path, data))


class Long(io.BytesIO):
    """The beginning of a file that says it is longer."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self.size = size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.size if whence == io.SEEK_END else super().seek(offset, whence)


def test_a_long_file_cut_short_is_not_taken_for_one_of_unknown_length() -> None:
    """1.5 of 2 GB: a file of that size is not written here, only its header and its length."""

    header = written("WAV")[:40] + struct.pack("<I", 2_000_000_000) + bytes(100)
    assert examine(Long(header, 1_500_000_000)).length is Length.TRUNCATED
    assert examine(io.BytesIO(header)).length is Length.OPEN


@pytest.mark.parametrize(
    ("size", "written_size"), [(3_000_000_000, 3_000_000_000 - 44), (6_000_000_000, 2**32 - 1)]
)
def test_a_stream_of_more_than_two_gigabytes_is_read_to_its_end(size: int, written_size: int) -> None:
    header = written("WAV")[:40] + bytes(104)
    found = examine(Long(header, size))
    assert found.length is Length.OPEN and found.header == {40: struct.pack("<I", written_size)}


def test_a_flac_without_a_length_is_read_to_its_last_frame(tmp_path: Path) -> None:
    data = written("FLAC")
    upper = data[21] & 0xF0
    open_ended = with_bytes(data, 21, bytes([upper, 0, 0, 0, 0]))
    audio = read_audio(stored(tmp_path, open_ended))
    assert audio.samples == len(NOISE) and audio.warning is None
    assert audio.checksum == read_audio(stored(tmp_path, data)).checksum
    with pytest.raises(Unusable, match="is truncated"):
        read_audio(stored(tmp_path, open_ended[: len(data) * 2 // 3]))


def test_an_ogg_without_the_mark_of_its_last_page_is_a_warning(tmp_path: Path) -> None:
    """As some phones write it. The page's checksum is set again (RFC 3533, 6)."""
    data = bytearray(written("OGG", "VORBIS"))
    at = data.rindex(b"OggS")
    data[at + 5] &= ~4
    data[at + 22 : at + 26] = bytes(4)
    data[at + 22 : at + 26] = struct.pack("<I", ogg_checksum(bytes(data[at:])))
    audio = read_audio(stored(tmp_path, bytes(data)))
    assert 0 <= audio.samples - len(NOISE) < 1024 and "may be truncated" in str(audio.warning)


def ogg_checksum(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def test_an_mp3_without_a_header_is_a_warning_if_it_ends_within_a_frame(tmp_path: Path) -> None:
    """libsndfile's own file without the name of the header, whose frame is then one of silence."""
    file = io.BytesIO()
    soundfile.write(
        file,
        NOISE,
        RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=0.5,
    )
    bare = file.getvalue().replace(b"Info", bytes(4))
    whole, cut = (read_audio(stored(tmp_path, bare[: len(bare) - missing])) for missing in (0, 30))
    assert whole.warning is None and "may be truncated" in str(cut.warning)


def test_a_headerless_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "speech.raw"
    NOISE.tofile(path)
    with pytest.raises(Unusable, match=r"speech.raw: the file is not a readable audio file; .*sox -r 16000"):
        read_audio(path)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(
    ("suffix", "options"), [("wav", []), ("flac", []), ("au", []), ("mp3", ["-write_xing", "0"])]
)
def test_files_that_ffmpeg_writes_to_a_pipe(tmp_path: Path, suffix: str, options: list[str]) -> None:
    source = tmp_path / "source.wav"
    source.write_bytes(written("WAV"))
    command = ["ffmpeg", "-v", "error", "-i", str(source), *options, "-f", suffix, "pipe:1"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    audio = read_audio(stored(tmp_path, data))
    assert audio.warning is None and 0 <= audio.samples - len(NOISE) < 3 * 1152
