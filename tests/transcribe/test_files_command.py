"""Transcription of files, against a loop over the network's logits."""

from collections.abc import Callable
from pathlib import Path

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
from saml.transcribe.recordings import transcribe_files

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
    [(path, text)] = transcribe_files(files=speech[:1], weights=model, beams=1, guard=False)
    assert (path, text) == (speech[0], expected)
    beams = [transcribe_files(files=speech, weights=model, beams=beams, guard=False) for beams in (1, 4)]
    assert beams[0][0] == (path, text) and beams[0] != beams[1]


def test_an_adapter_is_used_and_its_folds_differ(model: Path, adapter: Path, speech: list[Path]) -> None:
    stored_base, content = load_model(model, model.with_suffix(".json"))
    adapted = AdaptedRecogniser(stored_base, SPEC, seed=0)
    texts = []
    for fold, state in enumerate(load_adapter(adapter, adapter.with_suffix(".json"), content).folds):
        adapted.load_state(state)
        [(_, text)] = transcribe_files(
            files=speech[:1], weights=model, adapter=adapter, fold=fold, beams=1, guard=False
        )
        assert text == greedy(adapted, speech[0])
        texts.append(text)
    [(_, bare)] = transcribe_files(files=speech[:1], weights=model, beams=1, guard=False)
    assert len({*texts, bare}) == 3
    with pytest.raises(SamlError, match="no fold 2; it has 2"):
        transcribe_files(files=speech[:1], weights=model, adapter=adapter, fold=2)


def test_files_keep_their_order_and_channels_do_not_matter(model: Path, speech: list[Path]) -> None:
    """The shortest file is first; the same samples in two channels have the same text."""
    files = [speech[2], speech[0], speech[1]]
    texts = transcribe_files(files=files, weights=model)
    assert [path for path, _ in texts] == files
    assert texts[1][1] == texts[2][1] != texts[0][1]


def test_the_command_prints_a_line_a_file(
    model: Path, speech: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saml.cli.dispatch.limit_threads", lambda threads: None)
    assert main(["transcribe", "--weights", str(model), "--beams", "1", *map(str, speech)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [path for path, _ in lines] == [str(path) for path in speech]
    assert lines[0][1] == transcribe_files(files=speech[:1], weights=model, beams=1)[0][1]


def test_what_cannot_be_used_is_named(model: Path, adapter: Path, speech: list[Path], family: str) -> None:
    broken = speech[0].with_name("broken.wav")
    broken.write_bytes(speech[1].read_bytes()[:9000])
    with pytest.raises(SamlError, match="broken.wav: the file is truncated"):
        transcribe_files(files=[broken], weights=model)
    with pytest.raises(SamlError, match="nowhere.wav: the file is missing"):
        transcribe_files(files=[broken.with_name("nowhere.wav")], weights=model)
    if family == "whisper":
        long = speech[0].with_name("long.wav")
        soundfile.write(long, np.tile([900, 900, -900, -900], 8_000).astype(np.int16), 16_000)
        with pytest.raises(SamlError, match=r"long.wav: lasts 2.0 s, longer than the model takes \(1.4 s\)"):
            transcribe_files(files=[long], weights=model)
    other = model.with_name("other.safetensors")
    recogniser, _ = load_model(model, model.with_suffix(".json"))
    with torch.no_grad():
        next(iter(recogniser.parameters())).add_(1.0)  # type: ignore[attr-defined]
    save_model(recogniser, other, other.with_suffix(".json"))
    with pytest.raises(SamlError, match="belongs to another base model"):
        transcribe_files(files=speech[:1], weights=other, adapter=adapter)


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
        transcribe_files(files=speech[:1], weights=model, adapter=path)
    assert name in str(caught.value)
