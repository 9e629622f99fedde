"""The SAML layer against its equation written out with loops, and against PEFT."""

import pytest
import torch
from torch import nn

from saml.adapters import MixtureLinear, Route, Rows
from saml.compat.torchaudio import ensure


def layer(
    experts: int,
    rank: int,
    mixing: str = "merge",
    *,
    inputs: int = 6,
    outputs: int = 5,
    shared: str = "nothing",
) -> MixtureLinear:
    torch.manual_seed(11)
    made = MixtureLinear(
        nn.Linear(inputs, outputs),
        Route(),
        Rows(1),
        experts=experts,
        rank=rank,
        alpha=4.0,
        dropout=0.0,
        mixing=mixing,
        shared=shared,
    )
    nn.init.normal_(made.up)
    if made.shared_up is not None:
        nn.init.normal_(made.shared_up)
    return made


def by_the_equation(made: MixtureLinear, x: torch.Tensor, p: torch.Tensor, adapter: int = 0) -> torch.Tensor:
    """y for one vector x and one route p, one expert after another."""
    a, b, experts = made.down[adapter], made.up[adapter], range(made.experts)
    if made.mixing == "merge":
        mixed_b = sum(p[e] * b[e] for e in experts)
        mixed_a = sum(p[e] * a[e] for e in experts)
        change = mixed_b @ (mixed_a @ x)
    else:
        change = sum(p[e] * (b[e] @ (a[e] @ x)) for e in experts)
    return made.base.weight @ x + made.base.bias + (4.0 / made.rank) * change


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mixing", ["merge", "output"])
@pytest.mark.parametrize(("experts", "rank"), [(1, 1), (3, 1), (4, 2)])
def test_equals_the_equation_per_utterance(mixing: str, experts: int, rank: int, training: bool) -> None:
    """With a gradient and without one."""
    made = layer(experts, rank, mixing)
    x = torch.randn(2, 7, 6)
    p = torch.softmax(torch.randn(2, experts), dim=-1)
    made.route.weights = p
    with torch.set_grad_enabled(training):
        y = made(x)
    for row in range(2):
        for time in range(7):
            torch.testing.assert_close(y[row, time], by_the_equation(made, x[row, time], p[row]))


@pytest.mark.parametrize("mixing", ["merge", "output"])
def test_one_hot_routes_are_separate_loras(mixing: str) -> None:
    """Both rules agree there, and each row is W + s B_e A_e of its own expert."""
    made = layer(3, 2, mixing)
    x = torch.randn(3, 4, 6)
    made.route.weights = torch.eye(3)
    y = made(x)
    for e in range(3):
        weight = made.base.weight + 2.0 * made.up[0, e] @ made.down[0, e]
        torch.testing.assert_close(y[e], nn.functional.linear(x[e], weight, made.base.bias))


def test_equals_peft_lora_output_and_gradients() -> None:
    ensure()
    from peft import LoraConfig, inject_adapter_in_model

    made = layer(1, 2)
    holder = nn.Sequential(nn.Linear(6, 5))
    holder[0].load_state_dict(made.base.state_dict())
    peft = inject_adapter_in_model(
        LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=["0"]), holder
    )
    theirs = peft[0]
    theirs.lora_A["default"].weight.data.copy_(made.down[0, 0])
    theirs.lora_B["default"].weight.data.copy_(made.up[0, 0])
    x = torch.randn(2, 7, 6)
    ours = made(x)
    torch.testing.assert_close(ours, peft(x))
    ours.square().sum().backward()
    peft(x).square().sum().backward()
    torch.testing.assert_close(made.down.grad[0, 0], theirs.lora_A["default"].weight.grad)
    torch.testing.assert_close(made.up.grad[0, 0], theirs.lora_B["default"].weight.grad)


def test_starts_as_its_base_with_independent_experts() -> None:
    made = MixtureLinear(
        nn.Linear(6, 5), Route(), Rows(1), experts=3, rank=1, alpha=4.0, dropout=0.0, mixing="merge"
    )
    made.route.weights = torch.full((2, 3), 1 / 3)
    x = torch.randn(2, 4, 6)
    torch.testing.assert_close(made(x), made.base(x))
    assert not torch.equal(made.down[0, 0], made.down[0, 1])
    bound = 1 / 6**0.5  # Kaiming-uniform with a = sqrt 5: 1 / sqrt(inputs)
    assert made.down.abs().max() <= bound


def test_routes_are_repeated_for_beams() -> None:
    made = layer(2, 1)
    x = torch.randn(2, 3, 6)
    p = torch.softmax(torch.randn(2, 2), dim=-1)
    made.route.weights = p
    alone = made(x)
    torch.testing.assert_close(made(x.repeat_interleave(4, dim=0)), alone.repeat_interleave(4, dim=0))


def test_rows_that_routes_do_not_fit_are_refused() -> None:
    made = layer(2, 1)
    with pytest.raises(RuntimeError, match="before its route was set"):
        made(torch.randn(2, 3, 6))
    made.route.weights = torch.full((2, 2), 0.5)
    with pytest.raises(RuntimeError, match="3 input rows cannot belong to 2 utterances"):
        made(torch.randn(3, 3, 6))


@pytest.mark.parametrize("mixing", ["merge", "output"])
@pytest.mark.parametrize("experts", [1, 3])
def test_every_row_has_the_equation_of_its_own_adapter(mixing: str, experts: int) -> None:
    """Three adapters, one of them absent; the gradient of an absent adapter is zero."""
    torch.manual_seed(11)
    rows = Rows(3)
    made = MixtureLinear(
        nn.Linear(6, 5), Route(), rows, experts=experts, rank=2, alpha=4.0, dropout=0.0, mixing=mixing
    )
    nn.init.normal_(made.down)
    nn.init.normal_(made.up)
    assigned = [2, 0, 2, 2]
    rows.assign(assigned, torch.device("cpu"))
    x, p = torch.randn(4, 3, 6), torch.softmax(torch.randn(4, experts), dim=-1)
    made.route.weights = p
    y = made(x)
    for row, adapter in enumerate(assigned):
        for time in range(3):
            expected = by_the_equation(made, x[row, time], p[row], adapter)
            torch.testing.assert_close(y[row, time], expected)
    y.square().sum().backward()
    assert not made.down.grad[1].any() and not made.up.grad[1].any()
    assert made.down.grad[0].any() and made.down.grad[2].any()


@pytest.mark.parametrize("mixing", ["merge", "output"])
def test_a_shared_lora_is_added_whatever_the_route(mixing: str) -> None:
    """The mixture by its equation, and the shared LoRA's s B_0 A_0 x beside it."""
    made = layer(3, 2, mixing, shared="lora")
    x, p = torch.randn(2, 4, 6), torch.softmax(torch.randn(2, 3), dim=-1)
    made.route.weights = p
    y = made(x)
    shared = 2.0 * made.shared_up[0, 0] @ made.shared_down[0, 0]
    for row in range(2):
        for time in range(4):
            expected = by_the_equation(made, x[row, time], p[row]) + shared @ x[row, time]
            torch.testing.assert_close(y[row, time], expected)
    assert set(made.adapter_parameters()) == {"down", "up", "shared_down", "shared_up"}


@pytest.mark.parametrize("mixing", ["merge", "output"])
def test_with_one_a_for_all_experts_both_mixing_rules_are_one(mixing: str) -> None:
    made = layer(3, 2, mixing, shared="down")
    assert made.down.shape == (1, 1, 2, 6) and made.up.shape == (1, 3, 5, 2)
    x, p = torch.randn(2, 4, 6), torch.softmax(torch.randn(2, 3), dim=-1)
    made.route.weights = p
    y = made(x)
    for row in range(2):
        up = sum(p[row, e] * made.up[0, e] for e in range(3))
        weight = made.base.weight + 2.0 * up @ made.down[0, 0]
        torch.testing.assert_close(y[row], nn.functional.linear(x[row], weight, made.base.bias))


def test_each_row_has_the_shared_lora_of_its_own_adapter() -> None:
    torch.manual_seed(11)
    rows = Rows(2)
    made = MixtureLinear(
        nn.Linear(6, 5),
        Route(),
        rows,
        experts=2,
        rank=1,
        alpha=4.0,
        dropout=0.0,
        mixing="merge",
        shared="lora",
    )
    nn.init.normal_(made.shared_down)
    nn.init.normal_(made.shared_up)
    rows.assign([1, 0], torch.device("cpu"))
    made.route.weights = torch.full((2, 2), 0.5)
    x = torch.randn(2, 3, 6)
    y = made(x)
    for row, adapter in enumerate([1, 0]):  # the experts' B is zero
        weight = made.base.weight + 4.0 * made.shared_up[adapter, 0] @ made.shared_down[adapter, 0]
        torch.testing.assert_close(y[row], nn.functional.linear(x[row], weight, made.base.bias))


def test_something_unknown_cannot_be_shared() -> None:
    with pytest.raises(ValueError, match="shared must be one of nothing, lora, down, not 'up'"):
        layer(2, 1, shared="up")
