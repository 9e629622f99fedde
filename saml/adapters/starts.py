"""What a mixture starts from: experts that were trained apart, or one LoRA that was trained on everybody."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from saml.adapters.adapted import AdaptedRecogniser, State

# How far the B of experts that start from one LoRA lie apart, as a share of that B's root mean square.
SPREAD = 0.5


def as_experts(adapters: Sequence[State], names: Iterable[str]) -> State:
    """The tensors `names` of adapters with one expert each, `(1, ...)`, as one adapter `(experts, ...)`."""
    return {name: torch.cat([adapter[name] for adapter in adapters]) for name in names}


def from_lora(adapted: AdaptedRecogniser, lora: State, *, seed: int) -> State:
    """The state in which the single adapter of `adapted` computes what one LoRA does.

    A shared LoRA takes it over, beside experts that are fresh: their B is zero. Otherwise every expert gets
    its A, and its B plus a random part: these parts sum to zero, and the routers' last layer is zero, so that
    all weights are 1 / E and the mixture is the LoRA exactly, with either mixing rule. Without the random
    parts the experts would have the same gradients, and stay equal for ever. Feed-forward LoRAs are taken
    over.

    Args:
        adapted: a mixture; what the LoRA does not decide is kept from it.
        lora: a state of the same base with one expert, `(1, ...)`.
        seed: of the random parts.
    """
    generator = torch.Generator().manual_seed(seed)
    state = adapted.state()
    mixed = set(adapted.attention_parameters())
    for name, tensor in lora.items():
        layer, _, which = name.rpartition(".")
        if name not in mixed:
            state[name] = tensor
        elif adapted.spec.shared == "lora":
            state[f"{layer}.shared_{which}"] = tensor
        elif which == "down":
            state[name] = tensor.expand_as(state[name]).contiguous()
        else:
            state[name] = tensor + _apart(state[name], tensor, generator)
    for name in adapted.router_parameters():
        if ".output." in name:
            state[name] = torch.zeros_like(state[name])
    return state


def _apart(experts: Tensor, one: Tensor, generator: torch.Generator) -> Tensor:
    """Random parts `(experts, out, rank)` that sum to zero over the experts."""
    noise = torch.randn(experts.shape, generator=generator)
    return SPREAD * one.square().mean().sqrt() * (noise - noise.mean(0, keepdim=True))
