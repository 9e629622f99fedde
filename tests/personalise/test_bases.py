"""Any Whisper as the folder of an experiment, imported once."""

import json
import os
import shutil
from pathlib import Path

import pytest

import saml
from saml.adapters import AdaptedRecogniser
from saml.adapters.store import load_adapter, refuse_other_spec, save_adapter
from saml.config.load import load, validate
from saml.models.store import load_model
from saml.personalise import bases
from saml.personalise.bases import (
    about_start,
    arm_of,
    configuration,
    imported,
    is_experiment,
    refuse_without_start,
)
from saml.runtime.errors import SamlError
from saml.training.adapter_training import adapter_spec
from tests.models.conftest import save_bpe_checkpoint

ROOT = Path(__file__).parents[2]
TINY_EN = os.environ.get("SAML_TEST_TINY_EN", "")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_bpe_checkpoint(tmp_path / "my whisper", max_source_positions=1500)


def test_a_whisper_is_imported_and_quantised_once(checkpoint: Path, tmp_path: Path) -> None:
    folder = imported(str(checkpoint), tmp_path / "cache")
    assert folder.parent == tmp_path / "cache" and folder.name.startswith("my_whisper-")
    _, content = load_model(folder / "models/nf4/model.safetensors", folder / "models/nf4/model.json")
    assert content["precision"] == "nf4"
    assert is_experiment(str(folder)) and not is_experiment(str(checkpoint))
    written = (folder / "models/base/model.safetensors").stat().st_mtime_ns
    assert imported(str(checkpoint), tmp_path / "cache") == folder
    assert (folder / "models/base/model.safetensors").stat().st_mtime_ns == written
    # Another version, or other settings of NF4, may make another model of it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saml, "__version__", "0.0.1")
        assert imported(str(checkpoint), tmp_path / "cache") != folder
    with pytest.MonkeyPatch.context() as patch:
        other = configuration(str(checkpoint))
        other["quantisation"]["block_size"] = 32
        patch.setattr(bases, "configuration", lambda base: other)
        assert imported(str(checkpoint), tmp_path / "cache") != folder
    # Another file of that name is another model.
    weights = load_file_and_change(checkpoint / "model.safetensors")
    assert weights and imported(str(checkpoint), tmp_path / "cache") != folder


def load_file_and_change(path: Path) -> bool:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    tensors["model.decoder.layer_norm.bias"] = tensors["model.decoder.layer_norm.bias"] + 1
    save_file(tensors, path, metadata={"format": "pt"})
    return True


def test_its_configuration_is_valid(tmp_path: Path) -> None:
    config = configuration("openai/whisper-tiny.en")
    assert config["model"]["whisper"]["checkpoint"] == "hf://openai/whisper-tiny.en"
    config["corpus"]["name"] = "folder"
    config["partition"]["scheme"] = "folds"
    validate(config, ROOT / "workflow/schemas/config.schema.yaml")


def test_an_adapter_is_shipped_for_exactly_the_weights_that_it_was_trained_on(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "SHIPPED", tmp_path / "shipped")
    folder = imported(str(checkpoint), tmp_path / "cache")
    assert arm_of(folder, "auto") == "nf4-lora"
    with pytest.raises(SamlError, match="no adapter is shipped for this model"):
        arm_of(folder, "shipped")
    base, content = load_model(folder / "models/nf4/model.safetensors", folder / "models/nf4/model.json")
    config = load([folder / "config.yaml"])
    spec = adapter_spec({"arm": config["arms"]["pqm"], "adapters": config["adapters"]})
    state = AdaptedRecogniser(base, spec, seed=1).state()
    path = tmp_path / "shipped" / "tiny" / "adapter.safetensors"
    save_adapter(
        path,
        path.with_suffix(".json"),
        spec=spec,
        folds=[state],
        base=content,
        origin={"speech": "six Scots"},
    )
    imported(str(checkpoint), tmp_path / "cache")
    assert arm_of(folder, "auto") == "pqm" and arm_of(folder, "none") == "nf4-lora"
    assert "pre-trained on six Scots; with another accent take --start none" in about_start(folder, "pqm")
    assert "starts from nothing" in about_start(folder, "nf4-lora")
    started = folder / "pretrained/pqm/seed1/adapter.safetensors"
    assert started.read_bytes() == path.read_bytes()
    refuse_without_start(folder, ["pqm", "nf4-lora"], None)
    refuse_without_start(folder, ["nf4-lora"], 2)
    with pytest.raises(SamlError, match="--seed 2: the shipped adapter has seed 1 alone"):
        refuse_without_start(folder, ["pqm"], 2)
    with pytest.raises(SamlError, match="--arms: saml has nothing to start from .*; choose pqm or nf4-lora"):
        refuse_without_start(folder, ["saml"], None)
    # What is there is not written again: another process may be reading it.
    files = [started, started.with_suffix(".json"), folder / "config.yaml"]
    times = [file.stat().st_mtime_ns for file in files]
    imported(str(checkpoint), tmp_path / "cache")
    assert [file.stat().st_mtime_ns for file in files] == times
    # Of another model's weights it is not offered.
    shutil.rmtree(folder / "pretrained")
    description = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**description, "base_sha256": "0" * 64}))
    imported(str(checkpoint), tmp_path / "cache")
    assert arm_of(folder, "auto") == "nf4-lora"


def test_what_is_no_whisper_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamlError, match="there is no folder"):
        imported(str(tmp_path / "missing"), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
@pytest.mark.skipif(not TINY_EN, reason="SAML_TEST_TINY_EN names no folder with OpenAI's tiny.en")
def test_the_shipped_adapter_is_that_of_the_real_model(tmp_path: Path) -> None:
    folder = imported(TINY_EN, tmp_path / "cache")
    assert arm_of(folder, "auto") == "pqm"
    weights = folder / "models/nf4/model.safetensors"
    base, content = load_model(weights, weights.with_suffix(".json"))
    start = folder / "pretrained/pqm/seed1/adapter.safetensors"
    stored = load_adapter(start, start.with_suffix(".json"), content)
    config = load([folder / "config.yaml"])
    spec = adapter_spec({"arm": config["arms"]["pqm"], "adapters": config["adapters"]})
    refuse_other_spec(stored, spec, start, "pqm")
    AdaptedRecogniser(base, stored.spec, seed=1).load_state(stored.folds[0])


def test_what_is_shipped_is_small_and_has_its_origin() -> None:
    files = [path for path in bases.SHIPPED.rglob("*") if path.is_file()]
    assert files and all(path.stat().st_size < 1 << 20 for path in files)
    for path in bases.SHIPPED.glob("*/adapter.json"):
        assert path.parent.name in (bases.SHIPPED / "README.md").read_text()
        description = json.loads(path.read_text())
        assert description["speech"] in (bases.SHIPPED / "README.md").read_text()
        assert "/" not in json.dumps(description["settings"])  # no path of a machine
