"""Collapsed and pruned mixtures against the mixtures that they come from."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from saml.adapters import AdaptedRecogniser
from saml.adapters.compress import best_routed, collapse, keep
from saml.models.recogniser import Recogniser
from saml.runtime.errors import SamlError
from tests.adapters.test_adapted import adapted

Speech = tuple[torch.Tensor, torch.Tensor]
Make = Callable[[], Recogniser]
TOKENS = torch.tensor([[1, 5, 6, 7]] * 3)
ROUTE = torch.tensor([0.5, 0.2, 0.3])


def logits(made: AdaptedRecogniser, speech: Speech) -> torch.Tensor:
    return made.logits(made.encode(*speech), TOKENS)


@pytest.mark.parametrize("routes_from", ["router", "table"])
@pytest.mark.parametrize(
    ("mixing", "shared", "rank"),
    [
        ("merge", "nothing", 2),
        ("output", "nothing", 6),
        ("merge", "lora", 4),
        ("output", "lora", 8),
        ("merge", "down", 2),
        ("output", "down", 2),
    ],
)
def test_collapsed_it_is_the_mixture_at_that_route(
    make_recogniser: Make, speech: Speech, mixing: str, shared: str, rank: int, routes_from: str
) -> None:
    """Rank 2, three experts: 2 again in merge, 6 in output, 2 more with a shared LoRA; no router is left."""
    made = adapted(make_recogniser, rank=2, mixing=mixing, shared=shared, routes_from=routes_from)
    made.encode(*speech)
    spec, state = collapse(made, {name: ROUTE for name in made.routes()})
    assert (spec.experts, spec.rank, spec.routed, spec.shared) == (1, rank, False, "nothing")
    assert spec.alpha / spec.rank == made.spec.alpha / made.spec.rank
    plain = AdaptedRecogniser(make_recogniser(), spec, seed=9)
    plain.load_state(state)
    made.fix_routes(ROUTE.expand(3, 3))
    torch.testing.assert_close(logits(plain, speech), logits(made, speech), atol=1e-5, rtol=1e-5)


def test_each_layer_collapses_at_its_own_route(make_recogniser: Make, speech: Speech) -> None:
    """One utterance's own routes: the collapsed model is the routed one on that utterance."""
    made = adapted(make_recogniser)
    alone = speech[0][2:, :48], speech[1][2:]
    expected = made.logits(made.encode(*alone), TOKENS[:1])
    spec, state = collapse(made, {name: weights[0] for name, weights in made.routes().items()})
    plain = AdaptedRecogniser(make_recogniser(), spec, seed=9)
    plain.load_state(state)
    got = plain.logits(plain.encode(*alone), TOKENS[:1])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shared", ["nothing", "lora", "down"])
@pytest.mark.parametrize("experts", [[0, 2], [1]])
def test_with_fewer_experts_it_is_the_mixture_with_the_others_at_zero(
    make_recogniser: Make, speech: Speech, experts: list[int], shared: str
) -> None:
    made = adapted(make_recogniser, shared=shared)
    for parameter in made.router_parameters().values():
        parameter.data.mul_(0.1)  # so that no expert takes all
    states, mask = torch.randn(2, 9, 32), torch.ones(2, 9, dtype=torch.bool)
    spec, state = keep(made, experts)
    fewer = AdaptedRecogniser(make_recogniser(), spec, seed=9)
    fewer.load_state(state)
    route = ROUTE[experts] / ROUTE[experts].sum()
    fewer.fix_routes(route.expand(3, -1))
    made.fix_routes(torch.zeros(3, 3).index_copy(1, torch.tensor(experts), route.expand(3, -1)))
    torch.testing.assert_close(logits(fewer, speech), logits(made, speech), atol=1e-5, rtol=1e-5)
    assert len(fewer.routers) == (3 if len(experts) > 1 else 0)
    for kind, router in fewer.routers.items():
        every = made.routers[kind](states, mask)[:, experts]
        torch.testing.assert_close(router(states, mask), every / every.sum(1, keepdim=True))


def test_a_table_with_fewer_experts_shares_out_what_is_left(make_recogniser: Make, speech: Speech) -> None:
    made = adapted(make_recogniser, routes_from="table")
    made.encode(*speech)
    spec, state = keep(made, [0, 2])
    fewer = AdaptedRecogniser(make_recogniser(), spec, seed=9)
    fewer.load_state(state)
    fewer.encode(*speech)
    for name, route in fewer.routes().items():
        left = made.routes()[name][:, [0, 2]]
        torch.testing.assert_close(route, left / left.sum(1, keepdim=True))


def test_the_best_routed_experts() -> None:
    routes = {"a": torch.tensor([0.1, 0.6, 0.3]), "b": torch.tensor([0.5, 0.15, 0.35])}  # means .3 .375 .325
    assert best_routed(routes, 2) == [1, 2] and best_routed(routes, 1) == [1]


def test_what_does_not_fit_is_named(make_recogniser: Make, speech: Speech) -> None:
    made = adapted(make_recogniser)
    made.encode(*speech)
    routes = {name: ROUTE for name in made.routes()}
    with pytest.raises(SamlError, match="the route of cross has shape"):
        collapse(made, {**routes, "cross": torch.ones(2)})
    del routes["cross"]
    with pytest.raises(SamlError, match="no route for cross; there are: "):
        collapse(made, routes)
    for experts in ([], [0, 0], [3], [-1]):
        with pytest.raises(SamlError, match="cannot keep the experts"):
            keep(made, experts)
    made.spec = replace(made.spec, mixing="strongest")
    with pytest.raises(SamlError, match="mixing 'strongest': which one LoRA"):
        collapse(made, routes)
