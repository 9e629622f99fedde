"""Routes of many utterances at once against one utterance and one router at a time, and their table."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lhotse import CutSet, MonoCut

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.features.batching import collate
from saml.models.recogniser import Recogniser, as_module
from saml.stages.routes import route, routes_table
from tests.training.conftest import write_pool

SPEC = AdapterSpec(experts=3, feed_forward_experts=1, rank=1, alpha=4.0, dropout=0.2, routed=True)


@pytest.fixture
def cuts(family: str, tmp_path: Path) -> list[MonoCut]:
    padded = 140 if family == "whisper" else None
    return list(CutSet.from_file(write_pool(tmp_path / "pool", ["b", "a"], ["test"] * 3, padded)))


@pytest.fixture
def adapted(make_recogniser: Callable[[], Recogniser]) -> AdaptedRecogniser:
    """Routers that differ in what they say of two utterances."""
    made = AdaptedRecogniser(make_recogniser(), SPEC, seed=1)
    torch.manual_seed(4)
    for parameter in made.router_parameters().values():
        if parameter.dim() > 2:
            torch.nn.init.normal_(parameter, std=0.2)
    return made


def test_each_route_is_what_its_router_says_of_the_utterance_alone(
    adapted: AdaptedRecogniser, cuts: list[MonoCut]
) -> None:
    found = {(utterance, layer): weights for utterance, layer, weights in route(adapted, cuts)}
    attention = [name for name in adapted.routes() if name not in ("decoder_self", "cross")]
    assert set(found) == {(cut.id, layer) for cut in cuts for layer in [*attention, "decoder_self", "cross"]}
    heard = {}
    for name in attention:
        module = dict(as_module(adapted.base).named_modules())[name]
        module.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: heard.update({name: kwargs.get("hidden_states", *args[:1])}),
            with_kwargs=True,
        )
    with torch.inference_mode():
        for cut in cuts:
            encoded = adapted.encode(*collate([cut]))
            heard["decoder_self"] = heard["cross"] = encoded.states
            for layer, states in heard.items():
                kind = layer if layer in ("decoder_self", "cross") else "encoder_self"
                (expected,) = adapted.routers[kind](states, encoded.mask).tolist()
                assert found[cut.id, layer] == pytest.approx(expected, abs=1e-5)
    assert len({tuple(weights) for weights in found.values()}) == len(found), "all alike would show nothing"


def test_utterances_are_in_order(adapted: AdaptedRecogniser, cuts: list[MonoCut]) -> None:
    found = [utterance for utterance, _, _ in route(adapted, cuts)]
    assert found == sorted(found) and len(set(found)) == 6


def test_the_table() -> None:
    text = routes_table([('a,"b', "cross", [0.25, 0.75]), ("c", "cross", [1.0, 1e-9])], experts=2)
    assert text == (
        'utterance,layer,expert1,expert2\n"a,""b",cross,0.250000,0.750000\nc,cross,1.000000,0.000000\n'
    )
