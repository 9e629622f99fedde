"""Adaptations that leave experts or routers as they are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from saml.models.recogniser import Recogniser
from saml.runtime.errors import SamlError
from saml.training.adapter_task import adapter_task
from saml.training.engine import Task
from tests.adapters.test_adapted import adapted
from tests.training.conftest import SETTINGS

Speech = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def family() -> str:
    return "conformer"


def task(made: Any, frozen: str | None) -> Task:
    how = {**SETTINGS["adaptation"], **({"frozen": frozen} if frozen else {})}
    return adapter_task(made, None, name="adapting", train=[], dev=[], utterances=1, how=how, seed=1)


@pytest.mark.parametrize("frozen", [None, "expert", "router"])
def test_steps_move_what_is_not_frozen_and_nothing_else(
    make_recogniser: Callable[[], Recogniser], speech: Speech, frozen: str | None
) -> None:
    """Feed-forward LoRAs go with the experts. What is left moves on every step, taking no turns."""
    made = adapted(make_recogniser)
    updates = task(made, frozen).updates
    tokens = torch.tensor([[1, 5, 6, 7]] * 3)
    moved = []
    for _ in range(2):
        before = made.state()
        made.logits(made.encode(*speech), tokens).square().mean().backward()
        updates.step(torch.zeros(3))
        changed = {name for name, tensor in made.state().items() if not tensor.equal(before[name])}
        moved.append({"router" if name.startswith("routers.") else "expert" for name in changed})
    expected = {None: [{"router"}, {"expert"}], "expert": [{"router"}] * 2, "router": [{"expert"}] * 2}
    assert moved == expected[frozen]


def test_one_lora_has_nothing_else_to_train(make_recogniser: Callable[[], Recogniser]) -> None:
    with pytest.raises(SamlError, match="adapting: expert is frozen and there is nothing else to train"):
        task(adapted(make_recogniser, experts=1), "expert")
