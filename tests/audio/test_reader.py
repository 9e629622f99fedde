"""Reading: what is decoded is counted, once, in little memory; names and channels do not matter."""

import os
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut

from saml.audio.reader import Unusable, plain_samples, read_audio, read_part, read_samples
from saml.corpora.audio import describe, read_cut, read_recording
from saml.runtime.errors import SamlError
from tests.conftest import REAL_SPEECH

RATE = 16_000
NOISE = (0.1 * np.random.default_rng(2).standard_normal(RATE)).astype(np.float32)


def test_the_samples_are_those_that_soundfile_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.stack([NOISE, 0.5 * NOISE], axis=1), RATE)
    samples, audio = read_samples(path)
    expected = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    assert np.array_equal(samples, expected) and audio.samples == len(expected)
    assert audio.seconds == 1.0 and not audio.plain


@pytest.mark.parametrize(
    "name", [b"caf\xe9.wav", "cafe\u0301 \u4e00.wav".encode(), b"a\nb.wav", b"speech.raw", b"-v"]
)
def test_any_file_name(tmp_path: Path, name: bytes) -> None:
    """Latin-1 bytes, other scripts, a line end, the extension of headerless files, an option."""
    path = tmp_path / os.fsdecode(name)
    source = tmp_path / "source.wav"
    soundfile.write(source, NOISE, RATE)
    source.rename(path)
    assert read_audio(path).samples == RATE
    recording, _ = read_recording(path, "u1", tmp_path / "out/u1.flac")
    recording.to_dict()["sources"][0]["source"].encode()  # a manifest is UTF-8


def test_equal_recordings_have_equal_checksums_in_any_container(tmp_path: Path) -> None:
    checksums = set()
    whole = (NOISE * 2**15).astype(np.int16)  # libsndfile rounds fractions differently for FLAC
    for name, channels in (("a.wav", 1), ("a.flac", 1), ("b.aiff", 2)):
        soundfile.write(tmp_path / name, np.stack([whole] * channels, axis=1), RATE)
        checksums.add(read_audio(tmp_path / name).checksum)
    assert len(checksums) == 1
    soundfile.write(tmp_path / "c.wav", whole[1:], RATE)
    assert read_audio(tmp_path / "c.wav").checksum not in checksums


def test_a_decoder_that_stops_early_never_gives_memory(tmp_path: Path) -> None:
    """A FLAC with a frame overwritten in the middle: an error, never more samples than were decoded."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.tile(NOISE, 4), RATE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(Unusable, match="is truncated or damaged|is truncated"):
        read_audio(path)


def test_conversion_reads_a_file_once(tmp_path: Path) -> None:
    """Counted by the operating system: bytes that this process asked for."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([np.tile(NOISE, 60)] * 2, axis=1), RATE)
    size = path.stat().st_size

    def asked() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = asked()
    read_recording(path, "u1", tmp_path / "u1.flac")
    assert size <= asked() - before < 1.5 * size


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Ten minutes of 44.1 kHz stereo, 212 MB as floating-point numbers, become FLAC within 60 MB."""
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 44_100, 2, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(np.random.default_rng(3).uniform(-0.1, 0.1, (441_000, 2)))
    tracemalloc.start()
    recording, _ = read_recording(path, "u1", tmp_path / "u1.flac")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert recording.duration == 600.0 and peak < 60e6


def test_a_file_in_the_right_format_is_used_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE, RATE)
    recording, audio = read_recording(path, "u1", tmp_path / "u1.flac")
    assert audio.plain and recording.sources[0].source == str(path) and not (tmp_path / "u1.flac").exists()
    assert plain_samples(path) == RATE
    soundfile.write(path, NOISE, 8_000)
    assert plain_samples(path) is None


def test_nothing_is_left_of_a_conversion_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(8_000), 8_000)
    with pytest.raises(Unusable, match="is silent"):
        read_recording(path, "u1", tmp_path / "out/u1.flac")
    assert not (tmp_path / "out/u1.flac").exists()


def test_a_full_disk_is_no_fault_of_the_recording(tmp_path: Path) -> None:
    """Else good recordings were left out as damaged."""
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE, RATE)
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(SamlError) as caught:
        read_audio(path, lambda block: full.write(block.tobytes()))
    assert not isinstance(caught.value, Unusable)
    assert "a.wav: its audio cannot be written" in str(caught.value) and "No space left" in str(caught.value)


def test_a_part_is_read_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "talk.flac"
    soundfile.write(path, np.tile(NOISE, 3), RATE, subtype="PCM_16")
    expected = soundfile.read(path, dtype="float32")[0][4_000:9_000]
    samples, checksum = read_part(path, 4_000, 5_000)
    assert np.array_equal(samples, expected)
    assert read_part(path, 4_000 + RATE, 5_000)[1] == checksum != read_part(path, 4_001, 5_000)[1]
    with pytest.raises(Unusable, match=r"it ends before 3\.06 s"):
        read_part(path, 3 * RATE - 1_000, 2_000)


def test_a_cut_of_a_changed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE, RATE)
    recording = describe(path, "u1", RATE)
    cut = MonoCut(id="u1", start=0.0, duration=1.0, channel=0, recording=recording)
    samples, _ = read_cut(cut)
    assert np.array_equal(samples, cut.load_audio()[0])
    soundfile.write(path, NOISE[:-10], RATE)
    with pytest.raises(Unusable, match="has 15990 samples, and its manifest says 16000"):
        read_cut(cut)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_SPEECH.is_dir(), reason="no real speech here")
def test_no_real_recording_is_refused_or_doubted() -> None:
    """Every file beside the project: AN4, a piece of LibriSpeech, speechocean762; counted by the system."""
    files = sorted(REAL_SPEECH.rglob("*.flac"))
    listed = subprocess.run(["find", REAL_SPEECH, "-name", "*.flac"], capture_output=True, check=True).stdout
    found = [read_audio(path) for path in files]
    assert len(found) == len(listed.splitlines()) > 2_000
    assert all(audio.plain and audio.warning is None for audio in found)
    assert len({audio.checksum for audio in found}) == len(found), "no recording is there twice"


FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@FFMPEG
@pytest.mark.parametrize("suffix", ["m4a", "webm", "mka", "amr"])
def test_formats_of_ffmpeg(tmp_path: Path, suffix: str) -> None:
    source, path = tmp_path / "source.wav", tmp_path / f"a.{suffix}"
    soundfile.write(source, np.tile(NOISE, 3), RATE)
    made = subprocess.run(["ffmpeg", "-v", "error", "-i", source, path], check=False)
    if made.returncode:
        pytest.skip(f"this ffmpeg cannot write {suffix}")
    samples, audio = read_samples(path)
    assert (
        abs(audio.samples - 3 * RATE) < 0.2 * RATE and np.corrcoef(samples[:1000], samples[:1000])[0, 1] == 1
    )
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(Unusable, match="truncated"):
        read_audio(cut)


def test_what_needs_ffmpeg_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "voice.m4a"
    path.write_bytes(b"\0\0\0\x1cftypM4A " + bytes(1_000))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unusable, match=r"voice.m4a: the file is MPEG-4 audio .* needs ffmpeg; install it"):
        read_audio(path)


@FFMPEG
def test_a_playlist_does_not_lead_to_other_files(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", NOISE, RATE)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(Unusable, match="is not a readable audio file"):
        read_audio(playlist)
