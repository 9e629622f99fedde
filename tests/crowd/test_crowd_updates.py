"""The updates of a crowd against those of each member alone."""

from typing import Any

import pytest
import torch
from torch import nn

from saml.crowd.updates import CrowdUpdates
from saml.training.optim import AlternatingUpdates

HOW: dict[str, Any] = {"learning_rate": {"expert": 0.01, "router": 0.03}, "clip_norm": 0.5, "decay": 0.7}
SHAPES = {"expert": [(2, 3), (4,)], "router": [(3,)]}
# Members who take part in each step, and whose epoch ends after it. Nobody comes back who has left.
STEPS = [([0, 1, 2], []), ([0, 1, 2], [1]), ([0, 1, 2], [0, 2]), ([0, 2], []), ([0, 2], [0]), ([2], [])]


@pytest.mark.parametrize("kinds", [["expert"], ["expert", "router"], ["router"]], ids=str)
@pytest.mark.parametrize("interleaved", [True, False])
def test_every_member_moves_as_if_alone(kinds: list[str], interleaved: bool) -> None:
    """Gradients of very unlike size, so that clipping is each one's own; halfway a fresh object goes on."""
    torch.manual_seed(0)
    start = {kind: [torch.randn(3, *shape) for shape in SHAPES[kind]] for kind in kinds}
    crowd = {kind: [nn.Parameter(tensor.clone()) for tensor in start[kind]] for kind in kinds}
    alone = [
        {kind: [nn.Parameter(tensor[member].clone()) for tensor in start[kind]] for kind in kinds}
        for member in range(3)
    ]

    def fresh(kind: type, parameters: dict[str, list[nn.Parameter]]) -> Any:
        groups = parameters.get("expert", []), parameters.get("router", [])
        return kind(*groups, interleaved=interleaved, **HOW)

    ours = fresh(CrowdUpdates, crowd)
    theirs = [fresh(AlternatingUpdates, parameters) for parameters in alone]
    scale = torch.tensor([10.0, 0.01, 1.0])
    for number, (present, ending) in enumerate(STEPS):
        for kind in kinds:
            for index, parameter in enumerate(crowd[kind]):
                gradient = torch.randn_like(parameter) * scale.view(-1, *[1] * (parameter.dim() - 1))
                parameter.grad = gradient  # what is there for the absent must not move them
                for member in present:
                    alone[member][kind][index].grad = gradient[member].clone()
        ours.step(torch.tensor(present * 2))
        for member in present:
            theirs[member].step(torch.zeros(1, dtype=torch.long))
        ours.end_epoch(ending)
        for member in ending:
            theirs[member].end_epoch()
        if number == 2:
            state = ours.state_dict()
            ours = fresh(CrowdUpdates, crowd)
            ours.load_state_dict(state)
        for member in range(3):
            for kind in kinds:
                for parameter, own in zip(crowd[kind], alone[member][kind], strict=True):
                    torch.testing.assert_close(parameter[member], own, atol=1e-6, rtol=1e-5)
    assert all(parameter.grad is None for parameters in crowd.values() for parameter in parameters)
