"""Adapters inside a recogniser: where they go, what is saved, what is trained."""

import pytest
import torch

from saml.adapters import AdaptedRecogniser, find_sites
from saml.models.recogniser import Recogniser, as_module
from saml.runtime.errors import SamlError
from tests.adapters.make_adapted import Make, Speech, adapted, spec

# Two feed-forward modules of two linears in each of 2 Conformer blocks, one in all others.
FEED_FORWARD = {"conformer": 2 * 4 + 2 * 2, "whisper": 2 * 2 + 2 * 2}


def test_sites_counted_by_hand(recogniser: Recogniser, family: str) -> None:
    """2 encoder layers: q k v o, and feed-forward; 2 decoder layers: q k v o twice, and feed-forward.
    `relative_k_proj` and the CTC head are not among them.
    """
    found = find_sites(recogniser, recogniser.sites)
    kinds = [kind for kind, _, _ in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "encoder_self": 2 * 4,
        "decoder_self": 2 * 4,
        "cross": 2 * 4,
        "feed_forward": FEED_FORWARD[family],
    }
    assert not any("relative" in name or "ctc" in name for _, name, _ in found)


def test_a_pattern_that_matches_nothing_is_an_error(recogniser: Recogniser) -> None:
    with pytest.raises(SamlError, match="cross pattern 'nowhere' matches no linear layer"):
        find_sites(recogniser, {**recogniser.sites, "cross": "nowhere"})


def test_fresh_adapters_change_nothing(make_recogniser: Make, speech: Speech) -> None:
    plain = make_recogniser().encode(*speech).states
    made = AdaptedRecogniser(make_recogniser(), spec(), seed=1)
    torch.testing.assert_close(made.encode(*speech).states, plain)


def test_padding_and_batch_mates_change_nothing(make_recogniser: Make, speech: Speech) -> None:
    features, lengths = speech
    made = adapted(make_recogniser)
    together = made.encode(features, lengths)
    tokens = torch.tensor([[1, 5, 6, 7]] * 3)
    logits = made.logits(together, tokens)
    routes = made.routes()
    for row, length in enumerate(lengths.tolist()):
        alone = made.encode(features[row : row + 1, :length], lengths[row : row + 1])
        real = int(together.mask[row].sum())
        own = alone.states[0, :real]
        torch.testing.assert_close(own, together.states[row, :real], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(made.logits(alone, tokens[:1])[0], logits[row], atol=1e-4, rtol=1e-4)
        for name, weights in made.routes().items():
            torch.testing.assert_close(weights[0], routes[name][row], atol=1e-5, rtol=1e-4)


def test_only_adapters_are_trained_and_saved(make_recogniser: Make, family: str) -> None:
    made = adapted(make_recogniser)
    trained = {id(p) for p in [*made.expert_parameters().values(), *made.router_parameters().values()]}
    requiring = {id(p) for p in as_module(made.base).parameters() if p.requires_grad}
    assert requiring == {id(p) for p in made.expert_parameters().values()}
    assert len(trained) == len(made.state())
    # counted by hand: rank 1, width 32; attention has 24 linears of 32 x 32 with 3 experts, the
    # feed-forward ones are 32 x 64 with 1; a router is Conv1d(32, 32, 3), Linear(32, 1), Linear(32, 3)
    experts = 24 * 3 * (32 + 32) + FEED_FORWARD[family] * (32 + 64)
    routers = 3 * (32 * 32 * 3 + 32 + 32 + 1 + 32 * 3 + 3)
    assert sum(tensor.numel() for tensor in made.state().values()) == experts + routers


def test_state_round_trip_and_misfits(make_recogniser: Make, speech: Speech) -> None:
    made = adapted(make_recogniser)
    other = AdaptedRecogniser(make_recogniser(), spec(), seed=9)
    other.load_state(made.state())
    torch.testing.assert_close(other.encode(*speech).states, made.encode(*speech).states)
    state = made.state()
    name = next(iter(state))
    with pytest.raises(SamlError, match="has shape"):
        other.load_state({**state, name: torch.zeros(1)})
    del state[name]
    with pytest.raises(SamlError, match=r"missing"):
        other.load_state(state)


def test_dropout_returns_after_evaluation_and_batch_norm_never_trains(
    make_recogniser: Make, speech: Speech, family: str
) -> None:
    made = adapted(make_recogniser)
    norms = [m for m in as_module(made.base).modules() if isinstance(m, torch.nn.BatchNorm1d)]
    before = [norm.running_mean.clone() for norm in norms]
    for _ in range(2):
        made.train()
        first, second = made.encode(*speech).states, made.encode(*speech).states
        assert not torch.equal(first, second)
        made.eval()
        torch.testing.assert_close(made.encode(*speech).states, made.encode(*speech).states)
    assert bool(norms) == (family == "conformer") and not any(norm.training for norm in norms)
    assert all(torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True))


def test_for_anyone_a_table_has_the_mean_of_its_speakers(make_recogniser: Make, speech: Speech) -> None:
    made = adapted(make_recogniser, ["ann", "bob"], routes_from="table")
    z = made.state()["routers.table.logits"]
    state = made.state_for_anyone()
    torch.testing.assert_close(state["routers.table.logits"], (z[:1] + z[1:]) / 2)
    other = adapted(make_recogniser, routes_from="table")
    other.load_state(state)
    other.assign([0, 0, 0], speakers=["carl", "carl", "carl"])  # whoever it is
    other.encode(*speech)
    assert all(torch.equal(route[0], route[1]) for route in other.routes().values())
