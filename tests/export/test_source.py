"""What can be exported: the model of an adapter is found, a mixture becomes one LoRA, the rest is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from saml.adapters import AdaptedRecogniser
from saml.adapters.store import save_adapter
from saml.corpora.manifests import read_cuts
from saml.export.source import full_precision_of, open_source
from saml.models.build import build
from saml.models.store import load_model, save_model
from saml.runtime.errors import SamlError
from saml.stages.routes import mean_routes
from tests.adapters.test_adapted import spec
from tests.conftest import TINY
from tests.export.conftest import LORA, Adapter, adapted_by
from tests.training.conftest import write_pool


def test_the_model_is_that_of_the_experiment_with_the_adapters_checksum(
    results: Path, adapter: Adapter
) -> None:
    source = open_source(adapter())
    assert source.content["precision"] == "nf4" and source.spec == LORA
    assert set(source.state) == set(adapted_by(results, adapter()).state())


def test_elsewhere_the_model_is_named_or_in_the_cache(
    results: Path, adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(adapter().with_suffix(suffix), tmp_path)
    alone = tmp_path / "adapter.safetensors"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SamlError, match="in none of the folders above it, and not in .*cache/saml; name it"):
        open_source(alone)
    assert open_source(alone, results / "models/nf4/model.safetensors").spec == LORA
    with pytest.raises(SamlError, match="belongs to another base model"):
        open_source(alone, results / "models/base/model.safetensors")
    shutil.copytree(results / "models", tmp_path / "cache/saml/tiny/models")
    assert open_source(alone).content["precision"] == "nf4"


def test_of_a_cross_validation_one_has_to_be_chosen(adapter: Adapter) -> None:
    path = adapter("speakers/anna/folds/seed1", folds=2)
    with pytest.raises(SamlError, match="2 adapters of a cross-validation.*--fold 0 to 1"):
        open_source(path)
    first, second = (open_source(path, fold=fold).state for fold in (0, 1))
    assert any(not torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(SamlError, match="has no fold 2; there are 0 to 1"):
        open_source(path, fold=2)


def test_a_mixture_is_one_lora_at_the_speakers_mean_route(results: Path, adapter: Adapter) -> None:
    """The same as collapsing it with the mean route over the training utterances, found by the layout."""
    folder = results / "data/speakers/anna"
    if not folder.exists():
        pool = write_pool(folder, ["a"], ["train"] * 3 + ["dev", "test"])
        ids = [f"a-{index}" for index in range(5)]
        fold = {"train": ids[:3], "dev": ids[3:4], "test": ids[4:]}
        (folder / "splits.json").write_text(json.dumps({"folds": [fold]}))
        assert pool.name == "cuts.jsonl.gz"
    mixture = adapter("speakers/anna/saml/seed1", spec=spec(experts=3))
    source = open_source(mixture)
    assert (source.spec.experts, source.spec.rank, source.spec.routed) == (1, 1, False)
    made = adapted_by(results, mixture)
    cuts = [cut for cut in read_cuts(folder / "cuts.jsonl.gz") if cut.id in ("a-0", "a-1", "a-2")]
    routes = mean_routes(made, cuts)
    name = "network.model.encoder.layers.0.self_attn.q_proj"
    p = routes["network.model.encoder.layers.0.self_attn"]
    expected = sum(p[e] * made.state()[f"{name}.up"][e] for e in range(3))
    torch.testing.assert_close(source.state[f"{name}.up"][0], expected)


def test_one_expert_beside_a_shared_lora_is_refused(adapter: Adapter) -> None:
    """What `saml prune --keep 1` leaves of such a mixture; its two LoRAs are not one of the rank it says."""
    path = adapter("speakers/anna/shared/seed1", spec=replace(LORA, shared="lora"))
    with pytest.raises(SamlError, match="one expert beside a shared LoRA.*prune --collapse"):
        open_source(path)


def test_a_mixture_without_recordings_says_how_to_make_one_lora(
    results: Path, adapter: Adapter, tmp_path: Path
) -> None:
    mixture = adapter("speakers/nobody/saml/seed1", spec=spec(experts=3))
    with pytest.raises(SamlError, match="the recordings that say how it mixes are not beside it.*--collapse"):
        open_source(mixture)


def test_only_a_whole_whisper_is_known_elsewhere(
    results: Path, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = adapter()
    base, content = load_model(results / "models/nf4/model.safetensors", results / "models/nf4/model.json")
    short = {**base.settings, "features": {**base.settings["features"], "pad_seconds": 7.0}}
    base.settings = short
    monkeypatch.setattr("saml.export.source.load_model", lambda *_: (base, content))
    with pytest.raises(SamlError, match="hears 7 s, and other programs give every Whisper 30 s"):
        open_source(path)


def test_a_conformer_is_refused(tmp_path: Path) -> None:
    weights, path = tmp_path / "models/nf4/model.safetensors", tmp_path / "speakers/adapter.safetensors"
    save_model(build({"family": "conformer", "conformer": TINY}), weights, weights.with_suffix(".json"))
    base, content = load_model(weights, weights.with_suffix(".json"))
    state = AdaptedRecogniser(base, LORA, seed=1).state()
    save_adapter(path, path.with_suffix(".json"), spec=LORA, folds=[state], base=content, origin={})
    with pytest.raises(SamlError, match="no other program knows this model"):
        open_source(path)


def test_full_precision_lies_beside_the_quantised_model(results: Path, tmp_path: Path) -> None:
    nf4 = results / "models/nf4/model.safetensors"
    assert full_precision_of(nf4) == results / "models/base/model.safetensors"
    with pytest.raises(SamlError, match="there is no full-precision model beside"):
        full_precision_of(tmp_path / "nf4" / "model.safetensors")
