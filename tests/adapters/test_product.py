"""The product with a thin map beside it, against autograd on the formula and against finite differences."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saml.adapters.cpu_kernels import adapted_product

ROWS, TIME, INPUTS, OUTPUTS, RANK = 3, 5, 6, 4, 2


def drawn(dtype: torch.dtype = torch.float32) -> tuple[nn.Linear, Tensor, Tensor, Tensor, Tensor]:
    """A frozen layer, x, a, b and dropout's mask."""
    torch.manual_seed(3)
    base = nn.Linear(INPUTS, OUTPUTS, dtype=dtype).requires_grad_(False)
    shapes = ((ROWS, TIME, INPUTS), (ROWS, RANK, INPUTS), (ROWS, OUTPUTS, RANK))
    x, a, b = (torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)
    mask = (torch.rand(ROWS, TIME, INPUTS) > 0.3).to(dtype) / 0.7
    return base, x, a, b, mask


def formula(x: Tensor, base: nn.Linear, a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
    seen = x if mask is None else x * mask
    return base(x) + torch.einsum("rok,rki,rti->rto", b, a, seen)


@pytest.mark.parametrize("dropped", [False, True])
def test_equals_the_formula_and_its_gradients(dropped: bool) -> None:
    base, x, a, b, mask = drawn()
    outcomes = []
    for compute in (adapted_product, formula):
        y = compute(x, base, a, b, mask if dropped else None)
        outcomes.append((y, *torch.autograd.grad(y.square().sum(), (x, a, b))))
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dropped", [False, True])
def test_gradients_are_finite_differences(dropped: bool) -> None:
    base, x, a, b, mask = drawn(torch.float64)
    mask = mask if dropped else None
    assert torch.autograd.gradcheck(
        lambda *given: adapted_product(given[0], base, *given[1:], mask), (x, a, b)
    )


def test_nothing_is_kept_that_others_may_write_to() -> None:
    """The outcome may be changed in place, as activations do, and the input needs no gradient."""
    base, x, a, b, mask = drawn()
    y = F.relu_(adapted_product(x.detach(), base, a, b, mask))
    expected = F.relu(formula(x.detach(), base, a, b, mask))
    for ours, theirs in zip(
        torch.autograd.grad(y.sum(), (a, b)), torch.autograd.grad(expected.sum(), (a, b)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_in_bfloat16_as_autocast_has_it() -> None:
    base, x, a, b, mask = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        y = adapted_product(x, base, a, b, mask)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), formula(x, base, a, b, mask), atol=0.1, rtol=0.05)
    got = torch.autograd.grad(y.float().sum(), (x, a, b))
    expected = torch.autograd.grad(formula(x, base, a, b, mask).sum(), (x, a, b))
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.2, rtol=0.05)
