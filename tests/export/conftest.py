"""An experiment with a tiny Whisper of 30 s, in full precision and NF4, and adapters to a speaker."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.adapters.store import State, save_adapter
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.store import load_model, save_model
from saml.stages.quantise import quantise
from tests.models.conftest import save_bpe_checkpoint, section

LORA = AdapterSpec(experts=1, feed_forward_experts=1, rank=2, alpha=4.0, dropout=0.2)
PLACE = "speakers/anna/pqm/seed1"
# Makes the adapter of an arm with these folds and returns its path.
Adapter = Callable[..., Path]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results/<experiment> with the models `base` and `nf4`."""
    root = tmp_path_factory.mktemp("results") / "tiny"
    folder = save_bpe_checkpoint(root.parent / "checkpoint", max_source_positions=1500)
    features = {"bins": 80, "pad_seconds": 30.0, "tail_seconds": 1.0}
    given = section(folder, characters=None, text_style="model", features=features)
    base, nf4 = (root / "models" / name for name in ("base", "nf4"))
    recogniser = read_recogniser(open_checkpoint(given))
    save_model(recogniser, base / "model.safetensors", base / "model.json")
    quantise(
        experiment="tiny",
        settings={"quantisation": {"block_size": 64, "double": True}},
        weights=base / "model.safetensors",
        description=base / "model.json",
        out_weights=nf4 / "model.safetensors",
        out_description=nf4 / "model.json",
        record=nf4 / "run.jsonl",
    )
    return root


@pytest.fixture
def adapter(results: Path) -> Adapter:
    """A function that writes an adapter with random B into `place`, and returns its file."""

    def make(place: str = PLACE, spec: AdapterSpec = LORA, folds: int = 1, **origin: Any) -> Path:
        path = results / place / "adapter.safetensors"
        weights = results / "models/nf4/model.safetensors"
        base, content = load_model(weights, weights.with_suffix(".json"))
        adapted = AdaptedRecogniser(base, spec, seed=1)
        states = [random_state(adapted, fold) for fold in range(folds)]
        said = {"arm": "pqm", "seed": 1, "speaker": "anna", "settings": {"partition": {"enrolment": None}}}
        save_adapter(
            path, path.with_suffix(".json"), spec=spec, folds=states, base=content, origin={**said, **origin}
        )
        return path

    return make


def random_state(adapted: AdaptedRecogniser, seed: int) -> State:
    """A state whose B are not zero."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: 0.3 * torch.randn(tensor.shape, generator=generator) if name.endswith("up") else tensor
        for name, tensor in adapted.state().items()
    }


def adapted_by(results: Path, path: Path, model: str = "nf4") -> AdaptedRecogniser:
    """The model with the (first) state of an adapter, as `saml transcribe` has it."""
    folder = results / "models" / model
    base, _ = load_model(folder / "model.safetensors", folder / "model.json")
    content = json.loads(path.with_suffix(".json").read_text())
    made = AdaptedRecogniser(base, AdapterSpec(**content["spec"]), seed=0)
    made.load_state({name.removeprefix("fold0/"): tensor for name, tensor in load_file(path).items()})
    return made


def speech(seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(1, 3000, 80)` of an utterance that fills the context, and their length."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3000, 80, generator=generator), torch.tensor([3000])
