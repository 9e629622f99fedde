"""Any file is read as what it is or refused in one line; Hypothesis changes headers, lengths and contents."""

import functools
import io
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import assume, example, given
from hypothesis import strategies as st

from saml.audio.reader import Audio, Unusable, read_audio

RATE = 16_000
# Whole files of these containers say how long they are.
TELLING = [
    ("WAV", "PCM_16"),
    ("WAV", "GSM610"),
    ("WAV", "MS_ADPCM"),
    ("RF64", "PCM_16"),
    ("W64", "FLOAT"),
    ("AIFF", "PCM_24"),
    ("AU", "ULAW"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("NIST", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
]
OTHERS = [("VOC", "PCM_16"), ("SVX", "PCM_16"), ("IRCAM", "PCM_16"), ("MAT4", "PCM_16"), ("HTK", "PCM_16")]
SECONDS = 2


@functools.cache
def whole(container: str, codec: str) -> bytes:
    """Noise, so that no codec makes it small."""
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(6).standard_normal(SECONDS * RATE)
    soundfile.write(file, noise, RATE, format=container, subtype=codec)
    return file.getvalue()


def outcome(data: bytes) -> Audio | None:
    """What is read; None if the file is refused, in one line."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "given")
        path.write_bytes(data)
        try:
            return read_audio(path)
        except Unusable as error:
            assert "\n" not in str(error) and len(str(error)) < 500 + len(str(path))
            return None


@given(st.sampled_from(TELLING), st.floats(0, 1))
@example(("WAV", "PCM_16"), 2 / 3)
def test_no_part_of_a_file_is_taken_for_the_whole(kind: tuple[str, str], share: float) -> None:
    data = whole(*kind)
    audio = outcome(data[: round(share * len(data))])
    assert audio is None or audio.warning or audio.samples > (SECONDS - 0.1) * RATE


@given(
    st.sampled_from(TELLING + OTHERS),
    st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_any_bytes_of_a_header_may_be_wrong(kind: tuple[str, str], changes: list[tuple[int, int]]) -> None:
    data = bytearray(whole(*kind))
    for place, byte in changes:
        data[place] = byte
    audio = outcome(bytes(data))
    # A sampling rate may be among the changes, but there is no more audio than the file has bytes for:
    # the densest codec here has less than 1.2 bits a sample.
    assert audio is None or audio.samples < 8 * len(data) * RATE / 4_000 / 1.2


@given(
    st.sampled_from(TELLING + OTHERS), st.integers(0, 2**64 - 1), st.integers(0, 100), st.sampled_from([4, 8])
)
def test_any_length_may_be_declared(kind: tuple[str, str], size: int, place: int, width: int) -> None:
    data = bytearray(whole(*kind))
    assume(place + width < len(data))
    data[place : place + width] = (size % 256**width).to_bytes(width, "little")
    outcome(bytes(data))


@given(st.sampled_from(TELLING + OTHERS), st.integers(12, 64), st.binary(max_size=400))
def test_anything_may_follow_a_known_beginning(kind: tuple[str, str], kept: int, rest: bytes) -> None:
    outcome(whole(*kind)[:kept] + rest)


@given(st.binary(max_size=600))
def test_anything_at_all(data: bytes) -> None:
    outcome(data)
