"""A row of a crowd's batch is what its own member's adapters and routers make of it alone."""

from collections.abc import Callable

import pytest
import torch
from transformers import GenerationConfig, GenerationMixin

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.crowd.recogniser import CrowdRecogniser
from saml.crowd.rows import Rows, chosen
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


def crowd_of(make: Make, members: int, **changes: object) -> CrowdRecogniser:
    """A crowd whose members have nothing in common, and large enough adapters to show."""
    crowd = CrowdRecogniser(make(), spec(**changes), members=members, seed=1)
    torch.manual_seed(2)
    for name, parameter in {**crowd.expert_parameters(), **crowd.router_parameters()}.items():
        std = 0.1 if "." in name and "routers" in name else 0.3
        torch.nn.init.normal_(parameter.data, std=std)
    return crowd


def alone(crowd: CrowdRecogniser, make: Make, member: int) -> AdaptedRecogniser:
    made = AdaptedRecogniser(make(), crowd.spec, seed=9)
    made.load_state(crowd.state_of(member))
    return made


@pytest.mark.parametrize("mixing", ["merge", "output"])
@pytest.mark.parametrize("members", [[0, 0, 1], [2, 0, 2], [1, 2, 1], [1, 1, 1]], ids=str)
def test_rows_in_any_order(make_recogniser: Make, speech: Speech, members: list[int], mixing: str) -> None:
    """Encoder states, logits and routes; members have two rows, one, or none."""
    features, lengths = speech
    tokens = torch.tensor([[1, 5, 6, 7]] * 3)
    crowd = crowd_of(make_recogniser, 3, mixing=mixing)
    crowd.assign(members)
    together = crowd.encode(features, lengths)
    logits, routes = crowd.logits(together, tokens), crowd.routes()
    for row, member in enumerate(members):
        one = alone(crowd, make_recogniser, member)
        encoded = one.encode(features, lengths)
        real = int(together.mask[row].sum())
        torch.testing.assert_close(
            together.states[row, :real], encoded.states[row, :real], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(logits[row], one.logits(encoded, tokens)[row], atol=1e-4, rtol=1e-4)
        for name, weights in one.routes().items():
            torch.testing.assert_close(routes[name][row], weights[row], atol=1e-5, rtol=1e-4)
    if len(set(members)) > 1:
        assert (routes["cross"][0] - routes["cross"][1]).abs().max() > 1e-3 or members[0] == members[1]


@pytest.mark.parametrize("routing", ["encoder", "input"])
def test_beams_belong_to_their_utterances_member(make_recogniser: Make, speech: Speech, routing: str) -> None:
    """Beam search over several members' utterances finds what it finds with each member's adapter alone."""
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

    crowd = crowd_of(make_recogniser, 2, decoder_routing=routing)
    members = [1, 0, 1]
    crowd.assign(members)
    with torch.inference_mode():
        together = search(crowd, crowd.encode(*speech))
        for member in (0, 1):
            one = alone(crowd, make_recogniser, member)
            expected = search(one, one.encode(*speech))
            for row in (row for row, own in enumerate(members) if own == member):
                assert torch.equal(together[row], expected[row])


def test_routed_by_its_input_a_row_is_padded_as_in_its_members_own_batch(
    make_recogniser: Make, speech: Speech
) -> None:
    """The released routers see the padding, so it must not be that of other members' longer texts."""
    crowd = crowd_of(make_recogniser, 2, decoder_routing="input")
    tokens = torch.tensor([[1, 5, 6, 2, 2, 2], [1, 5, 2, 2, 2, 2], [1, 7, 8, 9, 10, 11]])
    crowd.assign([0, 0, 1], torch.tensor([4, 4, 6]))
    logits = crowd.logits(crowd.encode(*speech), tokens)
    one = alone(crowd, make_recogniser, 0)
    expected = one.logits(one.encode(*speech), tokens[:, :4])
    torch.testing.assert_close(logits[:2, :4], expected[:2], atol=1e-4, rtol=1e-4)
    longer = one.logits(one.encode(*speech), tokens)
    assert (longer[:2, :4] - expected[:2]).abs().max() > 1e-3


def test_all_start_as_one_adapted_alone(make_recogniser: Make) -> None:
    crowd = CrowdRecogniser(make_recogniser(), spec(), members=3, seed=5)
    state = AdaptedRecogniser(make_recogniser(), spec(), seed=5).state()
    for member in range(3):
        own = crowd.state_of(member)
        assert own.keys() == state.keys()
        assert all(torch.equal(own[name], tensor) for name, tensor in state.items())


def test_memory_grows_by_adapters_only(make_recogniser: Make) -> None:
    """Numbers held: the base's once, an adapter's for each member; and none of it is anybody else's."""
    one = AdaptedRecogniser(make_recogniser(), spec(), seed=1)
    adapter = sum(tensor.numel() for tensor in one.state().values())
    base = sum(parameter.numel() for parameter in as_module(make_recogniser()).parameters())
    for members in (1, 4):
        crowd = CrowdRecogniser(make_recogniser(), spec(), members=members, seed=1)
        held = {p for root in (as_module(crowd.base), crowd.routers) for p in root.parameters()}
        assert sum(parameter.numel() for parameter in held) == base + members * adapter


def test_a_members_state_is_its_own(make_recogniser: Make) -> None:
    crowd = crowd_of(make_recogniser, 3)
    before = [crowd.state_of(member) for member in range(3)]
    crowd.load_state_of(1, before[2])
    for member, expected in enumerate([before[0], before[2], before[2]]):
        assert all(torch.equal(tensor, expected[name]) for name, tensor in crowd.state_of(member).items())
    with pytest.raises(SamlError, match="left over"):
        crowd.load_state_of(0, {**before[0], "another": torch.zeros(1)})


def test_rows_are_put_together_by_member_and_apart_again() -> None:
    rows = Rows()
    rows.set([4, 1, 4, 4], CPU)
    x = torch.arange(8.0).view(4, 2)
    together = rows.together(x)
    assert rows.present(4).tolist() == [1, 4]
    assert together.shape == (2, 3, 2) and torch.equal(together[1], x[[0, 2, 3]])
    assert torch.equal(together[0, 0], x[1]) and torch.equal(rows.apart(together, 4), x)
    assert rows.of(8).tolist() == [4, 4, 1, 1, 4, 4, 4, 4]  # beams
    with pytest.raises(RuntimeError, match="6 input rows cannot belong to 4 utterances"):
        rows.of(6)
    with pytest.raises(RuntimeError, match="before it was said whose its rows are"):
        Rows().of(1)


@pytest.mark.parametrize("routed", [True, False])
def test_a_layer_refuses_what_does_not_fit_its_rows(
    make_recogniser: Make, speech: Speech, routed: bool
) -> None:
    """Frames must not be taken for rows, nor rows for frames."""
    crowd = crowd_of(make_recogniser, 3, **({} if routed else {"experts": 1, "routed": False}))
    layer = next(module for name, module in crowd.layers.items() if "decoder" in name and "attn" in name)
    with torch.no_grad(), pytest.raises(RuntimeError, match="before its route was set|cannot belong to 0"):
        layer(torch.randn(3, 2, layer.down.shape[-1]))
    features, lengths = speech
    crowd.assign([0, 1, 2])
    crowd.encode(features, lengths)
    with torch.no_grad():
        assert len(layer(torch.randn(6, 1, layer.down.shape[-1]))) == 6  # beams
        for rows, time in ((4, 3), (1, 6), (2, 3)):
            with pytest.raises(RuntimeError, match=f"{rows} input rows cannot belong to 3 utterances"):
                layer(torch.randn(rows, time, layer.down.shape[-1]))


def test_what_rows_have_of_a_parameter_has_the_gradient_of_indexing() -> None:
    parameter = torch.randn(4, 2, 3, requires_grad=True)
    members, direction = torch.tensor([2, 0, 2, 3]), torch.randn(4, 2, 3)
    own = chosen(parameter, members)
    assert torch.equal(own, parameter[members])
    (gradient,) = torch.autograd.grad((own * direction).sum(), parameter)
    (expected,) = torch.autograd.grad((parameter[members] * direction).sum(), parameter)
    torch.testing.assert_close(gradient, expected)
    assert not gradient[1].any()
