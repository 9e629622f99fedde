"""A mixture that starts from one LoRA computes what that LoRA does, and can leave it."""

from collections.abc import Callable

import pytest
import torch

from saml.adapters import AdaptedRecogniser
from saml.adapters.starts import from_lora
from saml.models.recogniser import Recogniser
from tests.adapters.test_adapted import adapted, spec

Speech = tuple[torch.Tensor, torch.Tensor]
Make = Callable[[], Recogniser]
TOKENS = torch.tensor([[1, 5, 6, 7]] * 3)


@pytest.mark.parametrize("routes_from", ["router", "table"])
@pytest.mark.parametrize("shared", ["nothing", "lora", "down"])
@pytest.mark.parametrize("mixing", ["merge", "output"])
def test_at_first_it_is_the_lora(
    make_recogniser: Make, speech: Speech, mixing: str, shared: str, routes_from: str
) -> None:
    lora = adapted(make_recogniser, experts=1, rank=2)
    mixture = AdaptedRecogniser(
        make_recogniser(), spec(rank=2, mixing=mixing, shared=shared, routes_from=routes_from), seed=3
    )
    mixture.load_state(from_lora(mixture, lora.state(), seed=5))
    expected = lora.logits(lora.encode(*speech), TOKENS)
    got = mixture.logits(mixture.encode(*speech), TOKENS)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    if shared != "lora":
        assert all(torch.allclose(route, torch.tensor(1 / 3)) for route in mixture.routes().values())


def test_its_experts_differ_and_its_routers_learn(make_recogniser: Make, speech: Speech) -> None:
    lora = adapted(make_recogniser, experts=1)
    mixture = AdaptedRecogniser(make_recogniser(), spec(), seed=3)
    mixture.load_state(from_lora(mixture, lora.state(), seed=5))
    mixture.logits(mixture.encode(*speech), TOKENS).square().mean().backward()
    name = next(name for name in mixture.attention_parameters() if name.endswith(".up"))
    first, second = mixture.expert_parameters()[name][0, :2]
    assert not torch.allclose(first, second)
    # Equal experts would leave no reason to prefer one, and no gradient for a router's last layer.
    last = [p for own, p in mixture.router_parameters().items() if own.endswith("output.weight")]
    assert len(last) == 3 and all(p.grad.abs().max() > 1e-7 for p in last)


def test_the_seed_decides_the_experts(make_recogniser: Make) -> None:
    lora = adapted(make_recogniser, experts=1).state()
    mixture = AdaptedRecogniser(make_recogniser(), spec(), seed=3)
    first, again, other = (from_lora(mixture, lora, seed=seed) for seed in (5, 5, 6))
    name = next(name for name in mixture.attention_parameters() if name.endswith(".up"))
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])
