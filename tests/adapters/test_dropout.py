"""Dropout on a CPU: what is kept, how often, and what the gradient sees."""

import pytest
import torch

from saml.adapters.cpu_kernels import Dropout


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_each_element_is_dropped_at_the_rate_and_the_rest_is_scaled(rate: float) -> None:
    torch.manual_seed(1)
    x = torch.ones(1001, 333)  # no multiple of four
    y = Dropout(rate)(x)
    assert sorted(y.unique().tolist()) == pytest.approx([0, 1 / (1 - rate)])
    deviation = (rate * (1 - rate) / x.numel()) ** 0.5
    assert (y == 0).float().mean().item() == pytest.approx(rate, abs=5 * deviation)
    by_column = (y == 0).float().mean(dim=0)
    assert (by_column - rate).abs().max() < 6 * (rate * (1 - rate) / 1001) ** 0.5


def test_neighbours_are_independent() -> None:
    torch.manual_seed(1)
    dropped = (Dropout(0.5)(torch.ones(400_000)) == 0).float()
    for distance in (1, 2, 3, 4):
        both = (dropped[:-distance] * dropped[distance:]).mean().item()
        assert both == pytest.approx(0.25, abs=0.005)


def test_the_gradient_passes_where_the_value_did() -> None:
    x = torch.randn(64, 8, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, 1 / 0.7))


def test_seeds_decide_and_evaluation_mode_does_nothing() -> None:
    layer, x = Dropout(0.2), torch.randn(50, 7)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)
    assert layer.eval()(x) is x
