"""Every case of cases.py works or gives a one-line error, and no given code is executed."""

import copy
import gzip
import hashlib
import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet
from safetensors.torch import load

from saml.adapters.adapted import AdaptedRecogniser, AdapterSpec
from saml.adapters.store import load_adapter, save_adapter
from saml.config import load as config
from saml.corpora import folder
from saml.corpora.manifests import read_cuts
from saml.corpora.registry import folder_name, speaker_id
from saml.corpora.split_files import read_splits
from saml.corpora.stm import read_stm
from saml.corpora.utterance_checks import check_cuts
from saml.evaluation.wer import SCORERS, count
from saml.models.build import build
from saml.models.store import load_model, read_description, save_model
from saml.models.text_limits import text_limits
from saml.models.tokenisers.characters import CharacterTokeniser
from saml.runtime.errors import in_one_line
from saml.runtime.files import read_json_object
from tests.conftest import TINY
from tests.hostile.cases import CASES, Case
from tests.training.conftest import write_pool

ROOT = Path(__file__).resolve().parents[2]
LIMITS: dict[str, Any] = {
    "min_seconds": 0.2,
    "max_seconds": 20.0,
    "model_seconds": None,
    "on_bad": "error",
}
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
LETTERS = CharacterTokeniser(" 'abcdefghijklmnopqrstuvwxyz")


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, an adapter of it with two folds, and cuts."""
    place = tmp_path_factory.mktemp("stored")
    torch.manual_seed(1)
    recogniser = build({"family": "conformer", "conformer": TINY})
    save_model(recogniser, place / "model.safetensors", place / "model.json")
    spec = AdapterSpec(experts=2, feed_forward_experts=1, rank=1, alpha=4.0, dropout=0.0, routed=True)
    state = AdaptedRecogniser(recogniser, spec, seed=1).state()
    save_adapter(
        place / "adapter.safetensors",
        place / "adapter.json",
        spec=spec,
        folds=[state, {name: tensor.clone() for name, tensor in state.items()}],
        base=read_description(place / "model.json"),
        origin={},
    )
    write_pool(place / "pool", ["t"], ["train"])
    return place


@pytest.fixture
def place(tmp_path: Path, stored: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stored files, and the working directory."""
    monkeypatch.chdir(tmp_path)
    for path in stored.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`content` with other values at key paths; ... removes a key."""
    content = copy.deepcopy(content)
    for key, value in changes.items():
        *path, last = key.split(".")
        section = content
        for name in path:
            section = section[name]
        if value is ...:
            del section[last]
        else:
            section[last] = value
    return content


def manifest(given: str, place: Path) -> None:
    """Read as a corpus, with audio that has to be converted."""
    (place / "mine").mkdir()
    soundfile.write(place / "mine/a.wav", np.tile([0.1, 0.1, -0.1, -0.1], 2_000), 8_000)
    (place / "mine/manifest.tsv").write_text(f"utterance\tspeaker\tfile\ttext\n{given}\n", encoding="utf-8")
    own = {"root": "mine", "manifest": "manifest.tsv", "roles": {}, "dev_share": 0.0, "seed": 1}
    own |= {"heldout_utterances": None, "synthetic_speech": {"voices": 0}}
    settings = {"name": "folder", "on_bad_utterance": "error", "folder": own}
    recordings, supervisions, _ = folder.prepare_corpus(settings, place / "audio")
    (converted,) = (place / "audio").rglob("*.flac")
    assert len(converted.relative_to(place / "audio").parts) == 2
    target = next(iter(supervisions)).speaker
    _, spoken, _ = folder.prepare_speaker(settings, target, recordings, supervisions, place / "audio")
    assert len(spoken) == 1


def speaker(given: Any, place: Path) -> None:
    """As a target speaker in a configuration, as a folder name, and quoted as an argument."""
    chosen = config.load([ROOT / "config/config.yaml"]) | {"target_speakers": [given]}
    config.validate(chosen, SCHEMA)
    name = folder_name(given)
    assert speaker_id(name) == given and Path(name).name == name and name not in (".", "..")
    assert not set(name) & set("/ $`;|&><*?!~#'\"\\{}\n") and not name.startswith(".")
    printed = subprocess.run(
        ["bash", "-c", f"printf %s {shlex.quote(given)}"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == given


def audio(given: tuple[int, int, int, float], place: Path) -> None:
    """As the only recording of a corpus, prepared and checked."""
    frames, rate, channels, value = given
    (place / "mine").mkdir()
    kind = "FLOAT" if frames < 1_000_000 else "PCM_16"
    with soundfile.SoundFile(place / "mine/a.wav", "w", rate, channels, subtype=kind) as file:
        for start in range(0, frames, 1_000_000):
            number = np.arange(start, min(start + 1_000_000, frames))
            wave = np.where(number // 40 % 2, np.float32(value), np.float32(-value))
            file.write(np.stack([wave] * channels, axis=1))
    (place / "mine/manifest.tsv").write_text("utterance\tspeaker\tfile\ttext\nu1\tanna\ta.wav\tone\n")
    own = {"root": "mine", "manifest": "manifest.tsv", "roles": {}, "dev_share": 0.0, "seed": 1}
    own |= {"heldout_utterances": None, "synthetic_speech": {"voices": 0}}
    settings = {"name": "folder", "on_bad_utterance": "error", "folder": own}
    recordings, supervisions, _ = folder.prepare_corpus(settings, place / "audio")
    (cut,), _ = check_cuts(
        CutSet.from_manifests(recordings, supervisions), wrong_text=lambda *_: None, **LIMITS
    )
    samples, rate = soundfile.read(cut.recording.sources[0].source)
    assert samples.shape == (16_000,) and rate == 16_000 and np.isfinite(samples).all()


def text(given: str, place: Path) -> None:
    """As a reference: the tokeniser encodes it without loss. Any text can be scored."""
    if len(given) < 100:
        for hypothesis in (given, "one two", ""):
            assert set(count(given, hypothesis, SCORERS)) == set(SCORERS)
    cut = next(iter(CutSet.from_file(write_pool(place / "pool", ["t"], ["train"]))))
    cut.supervisions[0].text = given
    model = {"family": "conformer", "conformer": {"characters": LETTERS.characters, "bpe": None}}
    check_cuts([cut], wrong_text=text_limits(model, ctc=False).wrong, **LIMITS)
    visible = given.replace("\u200b", "").replace("\u00ad", "")
    assert LETTERS.decode(LETTERS.encode(given)) == " ".join(visible.lower().split())


def config_(given: str | bytes, place: Path) -> None:
    path = place / "given.yaml"
    path.write_bytes(given if isinstance(given, bytes) else given.encode())
    config.load([ROOT / "config/config.yaml", path])


def change(given: tuple[str, Any], place: Path) -> None:
    chosen = changed(config.load([ROOT / "config/config.yaml"]), dict([given]))
    config.validate(chosen, SCHEMA)


def object_(given: bytes, place: Path) -> None:
    (place / "given.json").write_bytes(given)
    read_json_object(place / "given.json")


def splits(given: Any, place: Path) -> None:
    (place / "splits.json").write_text(json.dumps(given))
    read_splits(place / "splits.json", {"a", "b", "c"})


def stm(given: str, place: Path) -> None:
    (place / "talk.stm").write_text(given)
    assert [line.text for line in read_stm(place / "talk.stm")] == [""]


def model(given: dict[str, Any], place: Path) -> None:
    path = place / "model.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), given)))
    load_model(place / "model.safetensors", path)


def adapter(given: dict[str, Any], place: Path) -> None:
    path = place / "adapter.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), given)))
    base, content = load_model(place / "model.safetensors", place / "model.json")
    found = load_adapter(place / "adapter.safetensors", path, content)
    AdaptedRecogniser(base, found.spec, seed=0).load_state(found.folds[0])


def tokeniser(given: bytes, place: Path) -> None:
    """In the place of a model's tokeniser, its checksum in the description."""
    (place / "tokenizer.json").write_bytes(given)
    model({"tokeniser.sha256": hashlib.sha256(given).hexdigest()}, place)


def tensors(given: str | bytes, place: Path) -> None:
    """In place of a model's weights, with its checksum in the description."""
    if isinstance(given, str):
        given = len(given).to_bytes(8, "little") + given.encode() + bytes(4)
    (place / "model.safetensors").write_bytes(given)
    model({"sha256": hashlib.sha256(given).hexdigest()}, place)


def cuts(given: dict[str, Any], place: Path) -> None:
    path = write_pool(place / "pool", ["t"], ["train"])
    line = changed(json.loads(gzip.decompress(path.read_bytes())), given)
    path.write_bytes(gzip.compress(json.dumps(line).encode() + b"\n"))
    assert [cut.id for cut in read_cuts(path)] == ["t-0"]


DONE_WITH: dict[str, Callable[[Any, Path], None]] = {
    "manifest": manifest,
    "speaker": speaker,
    "audio": audio,
    "text": text,
    "config": config_,
    "change": change,
    "object": object_,
    "splits": splits,
    "stm": stm,
    "model": model,
    "adapter": adapter,
    "tokeniser": tokeniser,
    "tensors": tensors,
    "cuts": cuts,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_each_case_works_or_has_a_one_line_error(case: Case, place: Path) -> None:
    if case.says is None:
        DONE_WITH[case.kind](case.given, place)
    else:
        with pytest.raises(Exception) as error:
            DONE_WITH[case.kind](case.given, place)
        line = in_one_line(error.value)
        assert line is not None, repr(error.value)
        assert case.says in line and "\n" not in line and len(line) < 1000, line
    assert not (place / "hurt").exists()


def test_every_kind_has_cases() -> None:
    """And every kind has a function."""
    assert {case.kind for case in CASES} == set(DONE_WITH)
    assert len(CASES) >= 60


def test_the_stored_files_can_be_read(place: Path) -> None:
    """The cases of models and adapters start from valid files."""
    model({}, place)
    adapter({}, place)
    assert load((place / "model.safetensors").read_bytes())
