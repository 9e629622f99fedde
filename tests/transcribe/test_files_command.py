"""Transcription of files, against a loop over the network's logits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.adapters.store import load_adapter, save_adapter
from saml.cli.main import main
from saml.features.log_mel import LogMel, LogMelConfig
from saml.models.recogniser import Recogniser
from saml.models.store import load_model, save_model
from saml.models.tokenisers.characters import END, START
from saml.runtime.errors import SamlError
from saml.transcribe.command import transcribe_files
from saml.transcribe.writing import Transcript

SPEC = AdapterSpec(experts=2, feed_forward_experts=1, rank=1, alpha=4.0, dropout=0.0, routed=True)
ROOM = 40  # a recording of one second: at most 10 + 30 tokens


@pytest.fixture
def model(make_recogniser: Callable[[], Recogniser], tmp_path: Path) -> Path:
    """A stored recogniser; returns the path of its weights, with the description beside it."""
    weights = tmp_path / "model.safetensors"
    save_model(make_recogniser(), weights, tmp_path / "model.json")
    return weights


@pytest.fixture
def adapter(model: Path) -> Path:
    """An adapter with two folds that give different texts."""
    base, content = load_model(model, model.with_suffix(".json"))
    folds = []
    for seed in (1, 2):
        adapted = AdaptedRecogniser(load_model(model, model.with_suffix(".json"))[0], SPEC, seed=seed)
        torch.manual_seed(seed)
        state = adapted.state()
        folds.append({name: torch.randn(tensor.shape) * 0.3 for name, tensor in state.items()})
    path = model.with_name("adapter.safetensors")
    origin = {"arm": "saml", "speaker": "anna"}
    save_adapter(path, path.with_suffix(".json"), spec=SPEC, folds=folds, base=content, origin=origin)
    return path


@pytest.fixture
def speech(tmp_path: Path) -> list[Path]:
    """Noise as FLAC at 16 kHz, the same in both channels of a WAV file, and a rising tone at another rate."""
    samples = np.random.default_rng(5).integers(-9000, 9000, 16_000).astype(np.int16)
    samples[4000:9000] //= 50
    files = [tmp_path / "mono.flac", tmp_path / "stereo.wav", tmp_path / "other rate.wav"]
    soundfile.write(files[0], samples, 16_000, subtype="PCM_16")
    soundfile.write(files[1], np.stack([samples, samples], axis=1), 16_000, subtype="PCM_16")
    tone = np.sin(np.linspace(0, 120, 14_000) ** 1.7) * np.linspace(0, 1, 14_000)
    soundfile.write(files[2], tone, 22_050, subtype="PCM_16")
    return files


def texts_of(files: list[Path], **options: Any) -> list[str]:
    """What is written down of each file."""
    return [one.text for one in transcribe_files(files=files, **options)]


def greedy(recogniser: Recogniser, path: Path) -> str:
    """The most likely token at each step, without cache, batch or stored features."""
    samples, rate = soundfile.read(path, dtype="float32")
    extractor = LogMel(LogMelConfig(recogniser.family, pad_seconds=padding(recogniser)))
    features = torch.from_numpy(extractor.extract(samples, rate))
    frames = round(len(samples) / rate * 100)
    tokens = [START]
    with torch.inference_mode():
        encoded = recogniser.encode(features[None], torch.tensor([frames]))
        while len(tokens) <= ROOM and tokens[-1] != END:
            tokens.append(int(recogniser.logits(encoded, torch.tensor([tokens]))[0, -1].argmax()))
    return recogniser.tokeniser.decode(tokens)


def padding(recogniser: Recogniser) -> float | None:
    return 1.4 if recogniser.family == "whisper" else None


def test_the_text_equals_greedy_decoding_step_by_step(model: Path, speech: list[Path]) -> None:
    base, _ = load_model(model, model.with_suffix(".json"))
    expected = greedy(base, speech[0])
    assert len(expected) > 3
    [one] = transcribe_files(files=speech[:1], weights=model, beams=1, guard=False)
    assert (one.path, one.text, one.seconds) == (speech[0], expected, 1.0)
    beams = [texts_of(speech, weights=model, beams=beams, guard=False) for beams in (1, 4)]
    assert beams[0][0] == expected and beams[0] != beams[1]


def test_an_adapter_is_used_and_its_folds_differ(model: Path, adapter: Path, speech: list[Path]) -> None:
    stored_base, content = load_model(model, model.with_suffix(".json"))
    adapted = AdaptedRecogniser(stored_base, SPEC, seed=0)
    texts = []
    for fold, state in enumerate(load_adapter(adapter, adapter.with_suffix(".json"), content).folds):
        adapted.load_state(state)
        [text] = texts_of(speech[:1], weights=model, adapter=adapter, fold=fold, beams=1, guard=False)
        assert text == greedy(adapted, speech[0])
        texts.append(text)
    [bare] = texts_of(speech[:1], weights=model, beams=1, guard=False)
    assert len({*texts, bare}) == 3
    with pytest.raises(SamlError, match="no fold 2; it has 2"):
        texts_of(speech[:1], weights=model, adapter=adapter, fold=2)


def test_files_keep_their_order_and_channels_do_not_matter(model: Path, speech: list[Path]) -> None:
    """The shortest file is first; the same samples in two channels have the same text."""
    files = [speech[2], speech[0], speech[1]]
    found = list(transcribe_files(files=files, weights=model))
    assert [one.path for one in found] == files
    assert found[1].text == found[2].text != found[0].text


def test_the_command_prints_a_line_a_file(
    model: Path, speech: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saml.cli.dispatch.limit_threads", lambda threads: None)
    assert main(["transcribe", "--weights", str(model), "--beams", "1", *map(str, speech)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [path for path, _ in lines] == [str(path) for path in speech]
    assert [lines[0][1]] == texts_of(speech[:1], weights=model, beams=1)


def test_what_cannot_be_used_is_named(model: Path, adapter: Path, speech: list[Path]) -> None:
    broken = speech[0].with_name("broken.wav")
    broken.write_bytes(speech[1].read_bytes()[:9000])
    with pytest.raises(SamlError, match="broken.wav: the file is truncated"):
        texts_of([broken], weights=model)
    with pytest.raises(SamlError, match="nowhere.wav: the file is missing"):
        texts_of([broken.with_name("nowhere.wav")], weights=model)
    other = model.with_name("other.safetensors")
    recogniser, _ = load_model(model, model.with_suffix(".json"))
    with torch.no_grad():
        next(iter(recogniser.parameters())).add_(1.0)  # type: ignore[attr-defined]
    save_model(recogniser, other, other.with_suffix(".json"))
    with pytest.raises(SamlError, match="belongs to another base model"):
        texts_of(speech[:1], weights=other, adapter=adapter)


def test_an_adapter_that_does_not_fit_is_named(model: Path, adapter: Path, speech: list[Path]) -> None:
    """Its description matches, but a tensor has another shape."""
    _, content = load_model(model, model.with_suffix(".json"))
    stored = load_adapter(adapter, adapter.with_suffix(".json"), content)
    state = dict(stored.folds[0])
    name = max(state, key=lambda name: state[name].numel())
    state[name] = torch.cat([state[name], state[name]])
    path = adapter.with_name("longer.safetensors")
    save_adapter(path, path.with_suffix(".json"), spec=SPEC, folds=[state], base=content, origin={})
    with pytest.raises(SamlError, match=r"longer\.safetensors: .*tensor '") as caught:
        texts_of(speech[:1], weights=model, adapter=path)
    assert name in str(caught.value)


def test_recordings_that_cannot_be_read_do_not_stop_the_others(model: Path, speech: list[Path]) -> None:
    broken = speech[0].with_name("broken.wav")
    broken.write_bytes(speech[1].read_bytes()[:9000])
    found: list[Transcript] = []
    with pytest.raises(SamlError, match=r"broken\.wav: .*\| .*gone\.wav: .* \| 2 of 4 recordings are"):
        for one in transcribe_files(
            files=[speech[0], broken, broken.with_name("gone.wav"), speech[1]], weights=model
        ):
            found.append(one)
    assert [one.path for one in found] == speech[:2]


def test_several_adapters_share_batches(model: Path, adapter: Path, speech: list[Path]) -> None:
    """Each recording has the text that its own adapter gives alone; a table says which is whose."""
    base, content = load_model(model, model.with_suffix(".json"))
    stored = load_adapter(adapter, adapter.with_suffix(".json"), content)
    paths = [adapter.with_name(f"{name}.safetensors") for name in ("anna", "ben")]
    for path, state in zip(paths, stored.folds, strict=True):
        save_adapter(path, path.with_suffix(".json"), spec=SPEC, folds=[state], base=content, origin={})
    alone = [texts_of(speech[:1], weights=model, adapter=path, guard=False) for path in paths]
    assert alone[0] != alone[1]
    files = [speech[0], speech[1], speech[0]]
    together = texts_of(files, weights=model, adapters=[paths[0], paths[1], paths[1]], guard=False)
    assert together == [alone[0][0], alone[1][0], alone[1][0]]
    with pytest.raises(SamlError, match="some recordings have no adapter"):
        texts_of(files, weights=model, adapters=[paths[0], None, paths[1]])
    other = AdapterSpec(experts=2, feed_forward_experts=1, rank=2, alpha=4.0, dropout=0.0, routed=True)
    state = AdaptedRecogniser(base, other, seed=1).state()
    save_adapter(paths[1], paths[1].with_suffix(".json"), spec=other, folds=[state], base=content, origin={})
    with pytest.raises(SamlError, match=r"ben\.safetensors: is of another kind than .*anna\.safetensors"):
        texts_of(files[:2], weights=model, adapters=paths)
