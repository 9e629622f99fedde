"""Adaptations that leave experts or routers as they are."""

from collections.abc import Callable

import pytest
import torch

from saml.adapters import AdaptedRecogniser
from saml.config.settings import AdaptationSettings, typed
from saml.models.recogniser import Recogniser
from saml.runtime.errors import SamlError
from saml.training.adapter_training import adapter_updates
from saml.training.optim import AdapterUpdates
from tests.adapters.test_adapted import adapted
from tests.training.conftest import SETTINGS

Speech = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def family() -> str:
    return "conformer"


def updates_of(made: AdaptedRecogniser, frozen: str | None) -> AdapterUpdates:
    how = typed(AdaptationSettings, {"adaptation": {**SETTINGS["adaptation"], "frozen": frozen}})
    return adapter_updates(made, how, name="adapting")


@pytest.mark.parametrize("frozen", [None, "expert", "router"])
def test_steps_move_what_is_not_frozen_and_nothing_else(
    make_recogniser: Callable[[], Recogniser], speech: Speech, frozen: str | None
) -> None:
    """Feed-forward LoRAs go with the experts. What is left moves on every step, taking no turns."""
    made = adapted(make_recogniser)
    updates = updates_of(made, frozen)
    tokens = torch.tensor([[1, 5, 6, 7]] * 3)
    moved = []
    for _ in range(2):
        before = made.state()
        made.logits(made.encode(*speech), tokens).square().mean().backward()
        updates.step(torch.tensor([0]))
        changed = {name for name, tensor in made.state().items() if not tensor.equal(before[name])}
        moved.append({"router" if name.startswith("routers.") else "expert" for name in changed})
    expected = {None: [{"router"}, {"expert"}], "expert": [{"router"}] * 2, "router": [{"expert"}] * 2}
    assert moved == expected[frozen]


def test_one_lora_has_nothing_else_to_train(make_recogniser: Callable[[], Recogniser]) -> None:
    with pytest.raises(SamlError, match="adapting: expert is frozen and there is nothing else to train"):
        updates_of(adapted(make_recogniser, experts=1), "expert")
