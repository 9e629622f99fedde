"""Who routes the layers of a recogniser, and what a route may depend on."""

import math

import pytest
import torch
from transformers import GenerationConfig, GenerationMixin

from tests.adapters.make_adapted import Make, Speech, adapted


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


def test_a_table_is_trained_by_whoever_spoke(make_recogniser: Make, speech: Speech) -> None:
    made = adapted(make_recogniser, ["ann", "bob", "eve"], routes_from="table")
    made.assign([0, 0, 0], speakers=["bob", "ann", "bob"])
    made.logits(made.encode(*speech), torch.tensor([[1, 5, 6, 7]] * 3)).square().sum().backward()
    (table,) = made.router_parameters().values()
    assert table.grad is not None
    assert [bool(row.any()) for row in table.grad[0]] == [True, True, False]
