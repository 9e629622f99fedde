"""A LoRA added to the weights of its layers."""

import torch
from torch import Tensor

from saml.adapters.spec import AdapterSpec
from saml.adapters.store import State
from saml.models.recogniser import as_module
from saml.models.whisper import WhisperRecogniser


@torch.no_grad()
def merge(base: WhisperRecogniser, spec: AdapterSpec, state: State) -> None:
    """Add a LoRA of one expert to the weights of `base`, in place: W + (alpha / rank) B A."""
    modules = dict(as_module(base).named_modules())
    for name, down, up in layers(state):
        weight = modules[name].weight
        assert isinstance(weight, Tensor)
        weight.add_(spec.alpha / spec.rank * (up @ down))


def layers(state: State) -> list[tuple[str, Tensor, Tensor]]:
    """Each adapted layer by its name, A `(rank, in)` and B `(out, rank)`."""
    names = sorted({name.rpartition(".")[0] for name in state})
    return [(name, state[f"{name}.down"][0], state[f"{name}.up"][0]) for name in names]
