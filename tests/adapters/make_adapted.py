"""Adapted recognisers for tests."""

from collections.abc import Callable, Sequence

import torch

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.models.recogniser import Recogniser

Speech = tuple[torch.Tensor, torch.Tensor]
Make = Callable[[], Recogniser]


def spec(experts: int = 3, **changes: object) -> AdapterSpec:
    values = {"feed_forward_experts": 1, "rank": 1, "alpha": 4.0, "dropout": 0.2, "routed": experts > 1}
    return AdapterSpec(experts=experts, **{**values, **changes})


def adapted(make: Make, speakers: Sequence[str] = (), **changes: object) -> AdaptedRecogniser:
    """An adapted recogniser whose B are not zero, so that routes show in the output."""
    made = AdaptedRecogniser(make(), spec(**changes), seed=1, speakers=speakers)
    torch.manual_seed(2)
    for name, parameter in made.expert_parameters().items():
        if name.endswith("up"):
            torch.nn.init.normal_(parameter, std=0.5)
    for parameter in made.router_parameters().values():
        if parameter.dim() > 2:
            torch.nn.init.normal_(parameter, std=1.0)
    return made
