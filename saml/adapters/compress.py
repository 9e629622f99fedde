"""Adapters made smaller after training: a mixture at a fixed route as one LoRA, or with fewer experts.

A speaker's mean route is such a fixed route. Collapsing is exact for the route it is given; that a mean route
stands for the routes of single utterances is an approximation, to be measured.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from saml.adapters.adapted import TABLE, AdaptedRecogniser, State
from saml.adapters.sites import FEED_FORWARD
from saml.adapters.spec import AdapterSpec
from saml.runtime.errors import SamlError

# Weights (experts,) by the names of `AdaptedRecogniser.routes`.
Routes = Mapping[str, Tensor]


def collapse(adapted: AdaptedRecogniser, routes: Routes) -> tuple[AdapterSpec, State]:
    """The plain LoRA that the mixture is when every layer has its route of `routes`, exactly.

    Merge mixing: A = sum p_e A_e and B = sum p_e B_e, of the same rank. Output mixing: all A_e stacked and
    all p_e B_e side by side, of rank E r. With one A for all experts, that A and sum p_e B_e, of the same
    rank. A LoRA that is shared adds its rank. Feed-forward LoRAs, which share the specification's rank, are
    filled with zeros up to it.

    Raises SamlError where a layer has no route, or one that is not for its number of experts, and for a
    mixing rule that is neither.
    """
    spec = adapted.spec
    if spec.mixing not in ("merge", "output"):
        raise SamlError(f"mixing {spec.mixing!r}: which one LoRA this is equal to is not known")
    own = adapted.state()
    thin: dict[str, tuple[Tensor, Tensor]] = {}
    for layer, route in _layers(adapted).items():
        down, up = own[f"{layer}.down"], own[f"{layer}.up"]  # (E, r, in) and (E, out, r)
        if route is not None:
            down, up = _collapsed(spec, down, up, _weights(routes, route, spec.experts))
            if spec.shared == "lora":
                down = torch.cat([own[f"{layer}.shared_down"], down], dim=1)
                up = torch.cat([own[f"{layer}.shared_up"], up], dim=2)
        thin[layer] = down, up
    rank = max(down.shape[1] for down, _ in thin.values())
    state: State = {}
    for layer, (down, up) in thin.items():
        missing = rank - down.shape[1]
        state[f"{layer}.down"] = F.pad(down, (0, 0, 0, missing)).contiguous()
        state[f"{layer}.up"] = F.pad(up, (0, missing)).contiguous()
    alpha = spec.alpha * rank / spec.rank  # the scale, alpha / rank, stays
    return replace(spec.one_expert(), rank=rank, alpha=alpha, mixing="merge"), state


def _collapsed(spec: AdapterSpec, down: Tensor, up: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """A and B of one LoRA, `(1, n, in)` and `(1, out, n)`, for experts with the weights `p` `(experts,)`."""
    p = p[:, None, None]
    if spec.shared == "down":
        return down, (p * up).sum(0, keepdim=True)
    if spec.mixing == "output":
        return down.flatten(0, 1)[None], (p * up).permute(1, 0, 2).flatten(1)[None]
    return (p * down).sum(0, keepdim=True), (p * up).sum(0, keepdim=True)


def keep(adapted: AdaptedRecogniser, experts: Sequence[int]) -> tuple[AdapterSpec, State]:
    """The mixture of these `experts` alone. Routes are the old ones of those experts, divided by their sum.

    Raises SamlError where `experts` are none, not distinct, or not experts of the mixture.
    """
    chosen = sorted(set(experts))
    if not chosen or len(chosen) != len(experts) or chosen[0] < 0 or chosen[-1] >= adapted.spec.experts:
        raise SamlError(f"cannot keep the experts {list(experts)} of {adapted.spec.experts}, counted from 0")
    index = torch.tensor(chosen)
    own = adapted.state()
    state: State = {}
    for layer, route in _layers(adapted).items():
        for name in (name for name in own if name.rpartition(".")[0] == layer):
            each = route is not None and len(own[name]) == adapted.spec.experts  # what is shared stays whole
            state[name] = own[name][index].contiguous() if each else own[name]
    routed = adapted.spec.routed and len(chosen) > 1
    for name in adapted.router_parameters() if routed else ():
        # The last linear map has a row for each expert; softmax over fewer rows shares out what is left. So
        # does a table with fewer columns.
        if name == TABLE:
            state[name] = own[name][..., index].contiguous()
        else:
            state[name] = own[name][index].contiguous() if ".output." in name else own[name]
    return replace(adapted.spec, experts=len(chosen), routed=routed), state


def best_routed(routes: Routes, count: int) -> list[int]:
    """The `count` experts of the greatest mean weight over all layers, in the order of their numbers."""
    mean = torch.stack([weights.detach().cpu() for weights in routes.values()]).mean(0)
    return sorted(mean.argsort(descending=True, stable=True)[:count].tolist())


def _layers(adapted: AdaptedRecogniser) -> dict[str, str | None]:
    """Every adapted layer, and whose route is its own; None for the feed-forward LoRA, which has none."""
    names = {layer.replace("/", ".") for layer in adapted.layers}
    by_input = adapted.spec.decoder_routing == "input"
    found: dict[str, str | None] = {}
    for kind, pattern in adapted.sites.items():
        for name in names:
            if re.fullmatch(pattern, name):
                by_module = kind == "encoder_self" or by_input
                found[name] = name.rpartition(".")[0] if by_module else kind
                found[name] = None if kind == FEED_FORWARD else found[name]
    return {name: found[name] for name in sorted(found)}


def _weights(routes: Routes, name: str, experts: int) -> Tensor:
    if name not in routes:
        raise SamlError(f"no route for {name}; there are: {', '.join(routes)}")
    weights = routes[name].detach().cpu()
    if weights.shape != (experts,):
        raise SamlError(f"the route of {name} has shape {tuple(weights.shape)}, not ({experts},)")
    return weights
