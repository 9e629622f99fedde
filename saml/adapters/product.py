"""A frozen linear map and a thin one beside it, as one step of the graph."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def adapted_product(x: Tensor, base: nn.Linear, a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """y = W x + bias + b a (mask * x), with W and bias of `base` as they are.

    What it costs beside W x is passes over tensors as wide as the layer, for a and b are thin. Left to
    autograd there are three more than here: a copy of y, one of its gradient, and the sum of the gradients
    for the two ways that x takes. And thin products are computed in the order of their factors that
    processors are three times as fast at.

    Args:
        x: `(rows, time, in)`.
        base: frozen: it gets no gradient.
        a: `(rows, rank, in)`, a thin map for every row.
        b: `(rows, out, rank)`.
        mask: of the numbers that dropout multiplies x with, shaped like it.

    Returns:
        `(rows, time, out)`.
    """
    y: Tensor = _AdaptedProduct.apply(x, base.weight, base.bias, a, b, mask)
    return y


class _AdaptedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, mask: Tensor | None
    ) -> Tensor:
        y = F.linear(x, weight, bias)
        # Under autocast y is what the products are computed in, and in-place ones are not converted.
        seen = (x if mask is None else x * mask).to(y.dtype)
        a, b = a.to(y.dtype), b.to(y.dtype)
        low = torch.bmm(a, seen.transpose(1, 2))  # (rows, rank, time)
        y.baddbmm_(low.transpose(1, 2), b.transpose(1, 2))
        ctx.save_for_backward(weight, a, b, low, seen, mask)
        # `linear` made a view, and autograd lets nobody change one that comes from here in place.
        return torch.ops.aten._unsafe_view(y, y.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, a, b, low, seen, mask = ctx.saved_tensors
        (dy,) = gradients
        du = torch.bmm(b.transpose(1, 2), dy.transpose(1, 2))  # (rows, rank, time)
        da = torch.bmm(du, seen)
        db = torch.bmm(low, dy).transpose(1, 2)
        if not ctx.needs_input_grad[0]:
            return None, None, None, da, db, None
        dx = torch.matmul(dy, weight.to(dy.dtype))
        if mask is None:
            dx.baddbmm_(du.transpose(1, 2), a)
        else:
            dx.addcmul_(torch.bmm(du.transpose(1, 2), a), mask.to(dy.dtype))
        return dx, None, None, da, db, None
