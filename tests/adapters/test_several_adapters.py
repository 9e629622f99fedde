"""A row of a batch of several adapters is what its own adapter and routers compute alone."""

from collections.abc import Callable

import pytest
import torch
from transformers import GenerationConfig, GenerationMixin

from saml.adapters import AdaptedRecogniser, AdapterSpec, Rows
from saml.models.recogniser import Encoded, Recogniser, as_module
from saml.runtime.errors import SamlError

Make = Callable[[], Recogniser]
Speech = tuple[torch.Tensor, torch.Tensor]
CPU = torch.device("cpu")


def spec(**changes: object) -> AdapterSpec:
    values = {
        "experts": 3,
        "feed_forward_experts": 1,
        "rank": 2,
        "alpha": 4.0,
        "dropout": 0.2,
        "routed": True,
    }
    return AdapterSpec(**{**values, **changes})


def several(make: Make, count: int, **changes: object) -> AdaptedRecogniser:
    """Adapters that differ, with weights large enough to show."""
    model = AdaptedRecogniser(make(), spec(**changes), adapters=count, seed=1)
    torch.manual_seed(2)
    for name, parameter in {**model.expert_parameters(), **model.router_parameters()}.items():
        std = 0.1 if "." in name and "routers" in name else 0.3
        torch.nn.init.normal_(parameter.data, std=std)
    return model


def alone(model: AdaptedRecogniser, make: Make, adapter: int) -> AdaptedRecogniser:
    made = AdaptedRecogniser(make(), model.spec, seed=9)
    made.load_state(model.state(adapter))
    return made


@pytest.mark.parametrize("mixing", ["merge", "output"])
@pytest.mark.parametrize("indices", [[0, 0, 1], [2, 0, 2], [1, 2, 1], [1, 1, 1]], ids=str)
def test_rows_in_any_order(make_recogniser: Make, speech: Speech, indices: list[int], mixing: str) -> None:
    """Encoder states, logits and routes; adapters have two rows, one, or none."""
    features, lengths = speech
    tokens = torch.tensor([[1, 5, 6, 7]] * 3)
    model = several(make_recogniser, 3, mixing=mixing)
    model.assign(indices)
    together = model.encode(features, lengths)
    logits, routes = model.logits(together, tokens), model.routes()
    for row, adapter in enumerate(indices):
        one = alone(model, make_recogniser, adapter)
        encoded = one.encode(features, lengths)
        real = int(together.mask[row].sum())
        torch.testing.assert_close(
            together.states[row, :real], encoded.states[row, :real], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(logits[row], one.logits(encoded, tokens)[row], atol=1e-4, rtol=1e-4)
        for name, weights in one.routes().items():
            torch.testing.assert_close(routes[name][row], weights[row], atol=1e-5, rtol=1e-4)
    if len(set(indices)) > 1:
        assert (routes["cross"][0] - routes["cross"][1]).abs().max() > 1e-3 or indices[0] == indices[1]


@pytest.mark.parametrize("routing", ["encoder", "input"])
def test_beams_use_the_adapter_of_their_utterance(
    make_recogniser: Make, speech: Speech, routing: str
) -> None:
    """Beam search over utterances of several adapters finds what it finds with each adapter alone."""
    how = GenerationConfig(
        num_beams=3,
        max_new_tokens=5,
        min_new_tokens=5,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )

    def search(recogniser: AdaptedRecogniser, encoded: Encoded) -> torch.Tensor:
        recogniser.network.generation_config.max_length = None
        prompt = torch.ones(len(encoded.states), 1, dtype=torch.long)
        inputs = recogniser.generation_inputs(encoded)
        return GenerationMixin.generate(
            recogniser.network, **inputs, decoder_input_ids=prompt, generation_config=how
        )

    model = several(make_recogniser, 2, decoder_routing=routing)
    indices = [1, 0, 1]
    model.assign(indices)
    with torch.inference_mode():
        together = search(model, model.encode(*speech))
        for adapter in (0, 1):
            one = alone(model, make_recogniser, adapter)
            expected = search(one, one.encode(*speech))
            for row in (row for row, own in enumerate(indices) if own == adapter):
                assert torch.equal(together[row], expected[row])


def test_routed_by_its_input_a_row_is_padded_as_in_a_batch_of_its_adapter(
    make_recogniser: Make, speech: Speech
) -> None:
    """The released routers see the padding, so it must not be that of other indices' longer texts."""
    model = several(make_recogniser, 2, decoder_routing="input")
    tokens = torch.tensor([[1, 5, 6, 2, 2, 2], [1, 5, 2, 2, 2, 2], [1, 7, 8, 9, 10, 11]])
    model.assign([0, 0, 1], torch.tensor([4, 4, 6]))
    logits = model.logits(model.encode(*speech), tokens)
    one = alone(model, make_recogniser, 0)
    expected = one.logits(one.encode(*speech), tokens[:, :4])
    torch.testing.assert_close(logits[:2, :4], expected[:2], atol=1e-4, rtol=1e-4)
    longer = one.logits(one.encode(*speech), tokens)
    assert (longer[:2, :4] - expected[:2]).abs().max() > 1e-3


def test_all_start_as_one_adapted_alone(make_recogniser: Make) -> None:
    model = AdaptedRecogniser(make_recogniser(), spec(), adapters=3, seed=5)
    state = AdaptedRecogniser(make_recogniser(), spec(), seed=5).state()
    for adapter in range(3):
        own = model.state(adapter)
        assert own.keys() == state.keys()
        assert all(torch.equal(own[name], tensor) for name, tensor in state.items())


def test_memory_grows_by_adapters_only(make_recogniser: Make) -> None:
    """The parameters of the base once, and of each adapter."""
    one = AdaptedRecogniser(make_recogniser(), spec(), seed=1)
    adapter = sum(tensor.numel() for tensor in one.state().values())
    base = sum(parameter.numel() for parameter in as_module(make_recogniser()).parameters())
    for count in (1, 4):
        model = AdaptedRecogniser(make_recogniser(), spec(), adapters=count, seed=1)
        held = {p for root in (as_module(model.base), model.routers) for p in root.parameters()}
        assert sum(parameter.numel() for parameter in held) == base + count * adapter


def test_the_state_of_an_adapter_is_its_own(make_recogniser: Make) -> None:
    model = several(make_recogniser, 3)
    before = [model.state(adapter) for adapter in range(3)]
    model.load_state(before[2], adapter=1)
    for adapter, expected in enumerate([before[0], before[2], before[2]]):
        assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state(adapter).items())
    with pytest.raises(SamlError, match="left over"):
        model.load_state({**before[0], "another": torch.zeros(1)})


def test_rows_are_put_together_by_adapter_and_apart_again() -> None:
    rows = Rows(5)
    with pytest.raises(RuntimeError, match="before its rows were assigned"):
        rows.together(torch.zeros(1))
    rows.assign([4, 1, 4, 4], CPU)
    x = torch.arange(8.0).view(4, 2)
    together = rows.together(x)
    assert together.shape == (2, 3, 2) and torch.equal(together[1], x[[0, 2, 3]])
    assert torch.equal(together[0, 0], x[1]) and torch.equal(rows.apart(together, 4), x)
    weights = torch.arange(5.0)
    assert rows.present(weights, 4).tolist() == [1, 4]
    assert rows.select(weights, 8).tolist() == [4, 4, 1, 1, 4, 4, 4, 4]  # beams
    assert rows.spread(torch.tensor([10.0, 40.0]), 4).tolist() == [40, 10, 40, 40]
    with pytest.raises(RuntimeError, match="6 input rows cannot belong to 4 utterances"):
        rows.select(weights, 6)


def test_a_single_adapter_serves_rows_without_assignment() -> None:
    rows, weights, x = Rows(1), torch.tensor([[7.0]]), torch.arange(6.0).view(3, 2)
    assert torch.equal(rows.select(weights, 3), weights) and rows.sharing(3) == 1
    assert torch.equal(rows.apart(rows.together(x), 3), x)


@pytest.mark.parametrize("routed", [True, False])
def test_a_layer_refuses_what_does_not_fit_its_rows(
    make_recogniser: Make, speech: Speech, routed: bool
) -> None:
    """Frames must not be taken for rows, nor rows for frames."""
    model = several(make_recogniser, 3, **({} if routed else {"experts": 1, "routed": False}))
    layer = next(module for name, module in model.layers.items() if "decoder" in name and "attn" in name)
    with (
        torch.no_grad(),
        pytest.raises(RuntimeError, match="before its route was set|before its rows were assigned"),
    ):
        layer(torch.randn(3, 2, layer.down.shape[-1]))
    features, lengths = speech
    model.assign([0, 1, 2])
    model.encode(features, lengths)
    with torch.no_grad():
        assert len(layer(torch.randn(6, 1, layer.down.shape[-1]))) == 6  # beams
        for rows, time in ((4, 3), (1, 6), (2, 3)):
            with pytest.raises(RuntimeError, match=f"{rows} input rows cannot belong to 3 utterances"):
                layer(torch.randn(rows, time, layer.down.shape[-1]))


def test_what_rows_have_of_a_parameter_has_the_gradient_of_indexing() -> None:
    parameter = torch.randn(4, 2, 3, requires_grad=True)
    indices, direction = torch.tensor([2, 0, 2, 3]), torch.randn(4, 2, 3)
    rows = Rows(4)
    rows.assign(indices.tolist(), CPU)
    own = rows.select(parameter, len(indices))
    assert torch.equal(own, parameter[indices])
    (gradient,) = torch.autograd.grad((own * direction).sum(), parameter)
    (expected,) = torch.autograd.grad((parameter[indices] * direction).sum(), parameter)
    torch.testing.assert_close(gradient, expected)
    assert not gradient[1].any()
