"""`saml transcribe` as a person calls it: long recordings, standard input, formats, tables, memory."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.adapters.store import save_adapter
from saml.cli.main import main
from saml.models.recogniser import Recogniser
from saml.models.store import load_model, save_model
from saml.transcribe import command, recordings
from saml.transcribe.command import transcribe_files
from saml.transcribe.models import Transcriber
from saml.transcribe.reading import read_recording
from saml.transcribe.segments import Segment
from tests.models.test_packed import stored

SPEC = AdapterSpec(experts=1, feed_forward_experts=1, rank=1, alpha=4.0, dropout=0.0, routed=False)


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saml.cli.dispatch.limit_threads", lambda threads: None)


@pytest.fixture
def model(make_recogniser: Callable[[], Recogniser], tmp_path: Path) -> Path:
    path = tmp_path / "results" / "toy" / "models" / "nf4" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_model(make_recogniser(), path, path.with_suffix(".json"))
    return path


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Four seconds of noise of changing loudness."""
    samples = np.random.default_rng(5).normal(0, 0.1, 64_000) * np.linspace(0.1, 1, 64_000)
    path = tmp_path / "long.wav"
    soundfile.write(path, samples, 16_000)
    return path


@pytest.fixture
def cut_by_hand(monkeypatch: pytest.MonkeyPatch) -> list[Segment]:
    """Noise has no speech: segments are given in place of those of the voice activity detector."""
    segments = [Segment(1600, 16_000), Segment(30_000, 48_000)]
    monkeypatch.setattr(recordings, "speech_segments", lambda samples, longest, join: segments)
    return segments


def test_a_long_recording_is_transcribed_segment_by_segment(
    model: Path, noise: Path, cut_by_hand: list[Segment], tmp_path: Path
) -> None:
    """Each segment's text is that of a file with its samples."""
    samples, _ = soundfile.read(noise)
    expected = []
    for number, segment in enumerate(cut_by_hand):
        path = tmp_path / f"part{number}.wav"
        soundfile.write(path, samples[segment.start : segment.stop], 16_000)
        [alone] = transcribe_files(files=[path], weights=model, guard=False)
        expected.append((segment.start / 16_000, segment.stop / 16_000, alone.text))
    [whole] = transcribe_files(files=[noise], weights=model, guard=False, longest=1.3)
    assert [(one.start, one.end, one.text) for one in whole.segments] == expected
    assert whole.text == " ".join(text for *_, text in expected) and whole.seconds == 4.0


def test_standard_input_is_a_recording(
    model: Path, noise: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = noise.with_name("short.wav")
    soundfile.write(short, soundfile.read(noise)[0][:16_000], 16_000)
    [expected] = transcribe_files(files=[short], weights=model)

    class Input:
        buffer = io.BytesIO(short.read_bytes())

    monkeypatch.setattr("sys.stdin", Input())
    assert main(["transcribe", "-", "--weights", str(model), "--format", "json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert (read["file"], read["text"], read["seconds"]) == ("-", expected.text, 1.0)


def test_closed_standard_input_is_said(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert main(["transcribe", "-", "--weights", str(model)]) == 1
    assert "there is no standard input" in capsys.readouterr().err


def test_samples_take_no_space_once_they_are_used(noise: Path, tmp_path: Path) -> None:
    """The file has no name any more, and can be read all the same."""
    folder = tmp_path / "samples"
    folder.mkdir()
    recorded = read_recording(noise, folder)
    assert list(folder.iterdir()) == [] and recorded.samples.shape == (64_000,)
    assert recorded.samples.abs().max() > 0.1


def test_each_recording_has_a_file_in_the_folder(
    model: Path, noise: Path, cut_by_hand: list[Segment], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = noise.with_suffix(".flac")
    soundfile.write(other, soundfile.read(noise)[0], 16_000)
    options = ["--weights", str(model), "--format", "srt", "--longest", "1.3"]
    assert main(["transcribe", str(noise), str(other), *options]) == 1
    assert "give --out FOLDER" in capsys.readouterr().err
    assert main(["transcribe", str(noise), str(other), *options, "--out", str(tmp_path / "out")]) == 0
    written = [tmp_path / "out" / name for name in ("long.wav.srt", "long.flac.srt")]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in written]
    for path in written:
        assert path.read_text().startswith("1\n00:00:00,100 --> 00:00:01,000\n")


def test_the_model_of_an_adapter_is_found_and_a_table_has_several(
    model: Path, noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An adapter inside an experiment needs no --weights; paths in a table are relative to its folder."""
    base, content = load_model(model, model.with_suffix(".json"))
    short = tmp_path / "short.wav"
    soundfile.write(short, soundfile.read(noise)[0][:16_000], 16_000)
    expected = []
    for seed in (1, 2):
        adapted = AdaptedRecogniser(load_model(model, model.with_suffix(".json"))[0], SPEC, seed=seed)
        torch.manual_seed(seed)
        state = {name: torch.randn(tensor.shape) * 0.3 for name, tensor in adapted.state().items()}
        path = model.parents[2] / f"{seed}.safetensors"
        save_adapter(path, path.with_suffix(".json"), spec=SPEC, folds=[state], base=content, origin={})
        [one] = transcribe_files(files=[short], adapter=path)
        expected.append(one.text)
    table = tmp_path / "table.tsv"
    rows = [f"short.wav\tresults/toy/{seed}.safetensors" for seed in (1, 2)]
    table.write_text("\n".join(["file\tadapter", *rows]) + "\n")
    assert main(["transcribe", "--adapters", str(table)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{short}\t{text}" for text in expected]
    table.write_text("file,adapter\nshort.wav,a\n")
    assert main(["transcribe", "--adapters", str(table)]) == 1
    assert "table.tsv, line 2: needs a file and an adapter" in capsys.readouterr().err


def test_a_whisper_by_name_is_in_full_precision_unless_memory_is_low(
    make_recogniser: Callable[[], Recogniser],
    noise: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folder of an imported model has both; its two models give other texts."""
    base = tmp_path / "models" / "base" / "model.safetensors"
    (tmp_path / "models" / "nf4").mkdir(parents=True)
    base.parent.mkdir()
    save_model(make_recogniser(), base, base.with_suffix(".json"))
    path = stored(make_recogniser(), tmp_path)
    nf4 = tmp_path / "models" / "nf4" / "model.safetensors"
    for suffix in (".safetensors", ".json"):
        path.with_suffix(suffix).rename(nf4.with_suffix(suffix))
    (tmp_path / "tokenizer.json").rename(nf4.with_name("tokenizer.json"))
    monkeypatch.setattr("saml.personalise.bases.imported", lambda name: tmp_path)
    used: list[Path] = []
    opened = command.open_model

    def noted(weights: Path, *others: Any, **options: Any) -> Transcriber:
        used.append(weights)
        return opened(weights, *others, **options)

    monkeypatch.setattr(command, "open_model", noted)
    short = tmp_path / "short.wav"
    soundfile.write(short, soundfile.read(noise)[0][:16_000], 16_000)
    for memory in ("normal", "low"):
        assert list(transcribe_files(files=[short], base="openai/whisper-tiny.en", memory=memory))
    assert used == [base, nf4]


def test_with_an_adapter_segments_are_shorter_and_never_joined(
    model: Path, noise: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """12 s with an adapter, or what the model takes, if that is less; without one always what it takes."""
    base, content = load_model(model, model.with_suffix(".json"))
    adapted = AdaptedRecogniser(base, SPEC, seed=1)
    adapter = model.with_name("adapter.safetensors")
    save_adapter(
        adapter, adapter.with_suffix(".json"), spec=SPEC, folds=[adapted.state()], base=content, origin={}
    )
    long = noise.with_name("longer.wav")
    soundfile.write(long, np.tile(soundfile.read(noise)[0], 6), 16_000)
    limits: list[tuple[float, bool]] = []

    def noted(samples: torch.Tensor, longest: float, *, join: bool) -> list[Segment]:
        limits.append((longest, join))
        return [Segment(0, 16_000)]

    monkeypatch.setattr(recordings, "speech_segments", noted)
    for given in (None, adapter):
        assert list(transcribe_files(files=[long], weights=model, adapter=given))
    longest = [20.0, 12.0] if family == "conformer" else [1.4, 1.4]
    assert limits == list(zip(longest, [True, False], strict=True))


def test_packed_weights_give_the_same_text(
    make_recogniser: Callable[[], Recogniser], noise: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.wav"
    soundfile.write(short, soundfile.read(noise)[0][:16_000], 16_000)
    path = stored(make_recogniser(), tmp_path)
    [normal] = transcribe_files(files=[short], weights=path)
    [low] = transcribe_files(files=[short], weights=path, memory="low")
    assert low.text == normal.text and len(low.text) > 3


def test_what_is_missing_or_too_much_is_said(
    model: Path, noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        ([str(noise)], "there is no model; name one with --base"),
        (["--weights", str(model)], "there is no recording"),
        ([str(noise), "--weights", str(model), "--base", "openai/whisper-tiny.en"], "both name the model"),
        ([str(noise), "--weights", str(model), "--longest", "0.2"], "the model takes from 1 to"),
        (
            [str(noise), "--weights", str(model), "--language", "de"],
            "--language and --task are for",
        ),
        ([str(noise), "--weights", str(model), "--memory", "low"], "is in full precision"),
        (["--adapters", "a.tsv", "--adapter", "b.safetensors"], "--adapters a.tsv: the table names"),
        (
            [str(noise)] * 2 + ["--weights", str(model), "--out", str(tmp_path)],
            "would both be written to",
        ),
    ):
        assert main(["transcribe", *arguments]) == 1
        assert message in capsys.readouterr().err
