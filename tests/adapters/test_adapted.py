"""Adapters inside a recogniser: where they go, who routes them, what is saved."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import GenerationConfig, GenerationMixin

from saml.adapters import AdaptedRecogniser, AdapterSpec, find_sites
from saml.models.recogniser import Recogniser, as_module
from saml.runtime.errors import SamlError

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


def test_routes_differ_by_layer_in_the_encoder_and_not_in_the_decoder(
    make_recogniser: Make, speech: Speech
) -> None:
    made = adapted(make_recogniser)
    made.encode(*speech)
    routes = made.routes()
    encoder = [name for name in routes if "encoder.layers" in name]
    assert len(encoder) == 2 and set(routes) - set(encoder) == {"decoder_self", "cross"}
    assert (routes[encoder[0]] - routes[encoder[1]]).abs().max() > 1e-3
    assert (routes["decoder_self"] - routes["cross"]).abs().max() > 1e-3


def test_decoder_routes_do_not_see_the_text(make_recogniser: Make, speech: Speech) -> None:
    """Logits at a position do not change with later tokens: the route leaks nothing of the future."""
    made = adapted(make_recogniser)
    encoded = made.encode(*speech)
    first = made.logits(encoded, torch.tensor([[1, 5, 6, 7]] * 3))
    other = made.logits(encoded, torch.tensor([[1, 5, 9, 12]] * 3))
    torch.testing.assert_close(first[:, :2], other[:, :2])
    assert (first[:, 2:] - other[:, 2:]).abs().max() > 1e-3


def test_routed_by_its_input_the_decoder_sees_the_future(make_recogniser: Make, speech: Speech) -> None:
    """The released behaviour: the last token changes the logits before it, and so does padding."""
    made = adapted(make_recogniser, decoder_routing="input")
    for parameter in made.router_parameters().values():
        parameter.data.mul_(0.1)  # so that no frame and no expert takes all
    encoded = made.encode(*speech)
    assert not any("decoder" in name for name in made.routes())  # nothing is routed before the text is there
    first = made.logits(encoded, torch.tensor([[1, 5, 6, 7]] * 3))
    routes = made.routes()
    decoder = [name for name in routes if "decoder.layers" in name]
    assert len(decoder) == 2 * 2 and len(routes) == 2 + 4  # self- and cross-attention of two layers
    assert (routes[decoder[0]] - routes[decoder[2]]).abs().max() > 1e-3
    other = made.logits(encoded, torch.tensor([[1, 5, 6, 8]] * 3))
    assert (first[:, :3] - other[:, :3]).abs().max() > 1e-3
    padded = made.logits(encoded, torch.tensor([[1, 5, 6, 7, 2]] * 3))
    assert (first - padded[:, :4]).abs().max() > 1e-3


def test_routed_by_its_input_a_decoding_step_sees_the_newest_token(
    make_recogniser: Make, speech: Speech
) -> None:
    """With a key-value cache, and beams: the routes of a step are those of its newest token alone."""
    made = adapted(make_recogniser, decoder_routing="input")
    encoded = made.encode(*speech)
    repeated = {
        name: value.repeat_interleave(2, dim=0) if isinstance(value, torch.Tensor) else value
        for name, value in vars(encoded).items()
    }
    step = made.network.model.decoder.layers[0].self_attn
    seen = []
    step.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs.get("hidden_states", *args[:1])), with_kwargs=True
    )
    inputs = made.generation_inputs(type(encoded)(**repeated))
    made.network.generation_config.max_length = None
    GenerationMixin.generate(
        made.network,
        **inputs,
        decoder_input_ids=torch.ones(6, 1, dtype=torch.long),
        generation_config=GenerationConfig(
            max_new_tokens=3,
            min_new_tokens=3,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        ),
    )
    assert [tuple(states.shape[:2]) for states in seen] == [(6, 1)] * 3
    name = next(name for name in made.routes() if name.endswith("decoder.layers.0.self_attn"))
    alone = made.routers["decoder_self"](seen[-1], torch.ones(6, 1, dtype=torch.bool))
    torch.testing.assert_close(made.routes()[name], alone)


def test_fixed_routes_hold_for_a_decoder_routed_by_its_input(make_recogniser: Make, speech: Speech) -> None:
    tokens, logits = torch.tensor([[1, 5, 6, 7]] * 3), []
    for routing in ("encoder", "input"):
        made = adapted(make_recogniser, decoder_routing=routing)
        made.fix_routes(torch.eye(3))
        logits.append(made.logits(made.encode(*speech), tokens))
    assert torch.equal(*logits)


def test_fixed_routes_replace_the_routers(make_recogniser: Make, speech: Speech) -> None:
    made = adapted(make_recogniser)
    free = made.encode(*speech).states
    made.fix_routes(torch.eye(3))
    fixed = made.encode(*speech).states
    assert all(torch.equal(weights, torch.eye(3)) for weights in made.routes().values())
    assert (free - fixed).abs().max() > 1e-3
    made.fix_routes(None)
    torch.testing.assert_close(made.encode(*speech).states, free)


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


def test_a_table_gives_every_speaker_the_same_route_whatever_is_said(
    make_recogniser: Make, speech: Speech
) -> None:
    """p = sigmoid(z) / sum sigmoid(z), for each of two encoder layers and for each kind of the decoder."""
    made = adapted(make_recogniser, ["ann", "bob"], routes_from="table")
    z = made.state()["routers.table.logits"]
    assert z.shape == (2, 2 + 2, 3)
    made.assign([0, 0, 0], speakers=["bob", "ann", "bob"])
    made.encode(*speech)
    routes = list(made.routes().values())
    assert len(routes) == 4
    for layer, route in enumerate(routes):
        for row, speaker in enumerate([1, 0, 1]):
            strengths = [1 / (1 + math.exp(-float(value))) for value in z[speaker, layer]]
            torch.testing.assert_close(route[row], torch.tensor(strengths) / sum(strengths))
    with pytest.raises(RuntimeError, match="without saying who speaks"):
        made.assign([0, 0, 0])
        made.encode(*speech)


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


def test_a_table_is_trained_by_whoever_spoke(make_recogniser: Make, speech: Speech) -> None:
    made = adapted(make_recogniser, ["ann", "bob", "eve"], routes_from="table")
    made.assign([0, 0, 0], speakers=["bob", "ann", "bob"])
    made.logits(made.encode(*speech), torch.tensor([[1, 5, 6, 7]] * 3)).square().sum().backward()
    (table,) = made.router_parameters().values()
    assert table.grad is not None
    assert [bool(row.any()) for row in table.grad[0]] == [True, True, False]
