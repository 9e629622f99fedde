"""A real Whisper with an adapter, exported, in the programs themselves.

Wants a folder with OpenAI's tiny.en in any format that is read here (SAML_TEST_TINY_EN), LibriSpeech in the
data beside the repository, and the programs: faster-whisper and pywhispercpp, which nothing else here needs.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from saml.adapters import AdaptedRecogniser
from saml.adapters.store import save_adapter
from saml.compat.torchaudio import ensure
from saml.evaluation.wer import count, error_rate, pool
from saml.export.command import export
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.store import load_model, save_model
from saml.transcribe.command import transcribe_files
from tests.conftest import REAL_SPEECH
from tests.export.conftest import LORA, random_state
from tests.models.conftest import section

TINY_EN = os.environ.get("SAML_TEST_TINY_EN", "")
CHAPTER = REAL_SPEECH / "librispeech" / "LibriSpeech" / "train-clean-100" / "19" / "198"
UTTERANCES = 8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TINY_EN, reason="SAML_TEST_TINY_EN names no folder with OpenAI's tiny.en"),
    pytest.mark.skipif(not CHAPTER.is_dir(), reason=f"no LibriSpeech in {REAL_SPEECH}"),
]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on tiny.en in full precision that changes its texts a little."""
    root = tmp_path_factory.mktemp("real")
    features = {"bins": 80, "pad_seconds": 30.0, "tail_seconds": None}
    given = section(TINY_EN, characters=None, text_style="model", features=features)
    weights = root / "models/base/model.safetensors"
    save_model(read_recogniser(open_checkpoint(given)), weights, weights.with_suffix(".json"))
    base, content = load_model(weights, weights.with_suffix(".json"))
    state = random_state(AdaptedRecogniser(base, LORA, seed=1), 1)
    state = {name: tensor * (0.05 if name.endswith("up") else 1.0) for name, tensor in state.items()}
    path = root / "speakers/19/pqm/seed1/adapter.safetensors"
    save_adapter(path, path.with_suffix(".json"), spec=LORA, folds=[state], base=content, origin={})
    return path


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """The shortest utterances of a chapter."""
    return sorted(CHAPTER.glob("*.flac"), key=lambda path: soundfile.info(path).frames)[:UTTERANCES]


@pytest.fixture(scope="module")
def ours(adapter: Path, files: list[Path]) -> list[str]:
    """What `saml transcribe` writes down, by greedy search as the other programs."""
    weights = adapter.parents[4] / "models/base/model.safetensors"
    return [one.text for one in transcribe_files(files=files, weights=weights, adapter=adapter, beams=1)]


def rate(files: list[Path], texts: list[str]) -> float:
    """WER in per cent."""
    lines = (CHAPTER / f"{files[0].name.rpartition('-')[0]}.trans.txt").read_text().splitlines()
    references = dict(line.split(" ", 1) for line in lines)
    counts = [
        count(references[path.stem], text, ["whisper"])["whisper"]["words"]
        for path, text in zip(files, texts, strict=True)
    ]
    return 100 * error_rate(pool(counts))


def test_transformers_pipeline_writes_the_same(
    adapter: Path, files: list[Path], ours: list[str], tmp_path: Path
) -> None:
    ensure()
    from transformers import pipeline

    export(adapter=adapter, to="transformers", out=tmp_path)
    recognise = pipeline("automatic-speech-recognition", model=str(tmp_path))
    audio = [{"raw": soundfile.read(path, dtype="float32")[0], "sampling_rate": 16_000} for path in files]
    greedy = {"num_beams": 1}  # the pipeline's own default is 5
    assert [recognise(one, generate_kwargs=greedy)["text"].strip() for one in audio] == ours


def test_peft_generates_the_same(adapter: Path, files: list[Path], ours: list[str], tmp_path: Path) -> None:
    ensure()
    from peft import PeftModel
    from transformers import WhisperFeatureExtractor

    export(adapter=adapter, to="peft", out=tmp_path)
    weights = adapter.parents[4] / "models/base/model.safetensors"
    base, _ = load_model(weights, weights.with_suffix(".json"))
    network = PeftModel.from_pretrained(base.network, tmp_path).eval()
    extract = WhisperFeatureExtractor(feature_size=80)
    for path, text in zip(files[:3], ours, strict=False):
        samples = soundfile.read(path, dtype="float32")[0]
        features = extract(samples, sampling_rate=16_000, return_tensors="pt").input_features
        with torch.no_grad():
            tokens = network.generate(
                input_features=features,
                decoder_input_ids=torch.tensor([base.tokeniser.prompt]),
                suppress_tokens=list(base.tokeniser.describe()["never"]),
                begin_suppress_tokens=list(base.tokeniser.never_first),
            )
        assert base.tokeniser.decode(tokens[0].tolist()) == text


@pytest.mark.parametrize("quantise", [None, "int8"])
def test_faster_whisper_is_within_a_point(
    adapter: Path, files: list[Path], ours: list[str], tmp_path: Path, quantise: str | None
) -> None:
    """Not to the letter: it pads features with zeros, which is no silence."""
    faster_whisper = pytest.importorskip("faster_whisper")
    export(adapter=adapter, to="ctranslate2", out=tmp_path, quantise=quantise)
    model = faster_whisper.WhisperModel(str(tmp_path), device="cpu", compute_type=quantise or "float32")

    def text(path: Path) -> str:
        segments, _ = model.transcribe(str(path), beam_size=1, language="en", without_timestamps=True)
        return " ".join(segment.text.strip() for segment in segments)

    assert rate(files, [text(path) for path in files]) <= rate(files, ours) + 1.0


@pytest.mark.parametrize("quantise", [None, "q8_0", "q5_0"])
def test_whisper_cpp_is_within_a_point(
    adapter: Path, files: list[Path], ours: list[str], tmp_path: Path, quantise: str | None
) -> None:
    pywhispercpp: Any = pytest.importorskip("pywhispercpp.model")
    export(adapter=adapter, to="ggml", out=tmp_path, quantise=quantise)
    model = pywhispercpp.Model(
        str(tmp_path / "ggml-model.bin"), n_threads=1, print_progress=False, print_realtime=False
    )
    texts = []
    for path in files:
        segments = model.transcribe(soundfile.read(path, dtype="float32")[0], language="en")
        texts.append(" ".join(segment.text.strip() for segment in segments))
    assert rate(files, texts) <= rate(files, ours) + 1.0
