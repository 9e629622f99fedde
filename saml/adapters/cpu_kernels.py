"""Two operations of adapted layers, written to cost a CPU little beside the products of the base."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """`nn.Dropout` that on a CPU draws 16 random bits per element instead of one random number.

    torch draws elements one by one there, which took as long as the product of a layer with its weights: a
    LoRA's dropout is as wide as the layer. numpy's fastest generator draws them here, seeded by torch's, so
    that torch's seed and state decide. The rate is exact to 2^-16. Other devices use torch's own dropout. The
    mask holds numbers: with booleans torch takes ten times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        """`input` with elements zeroed at rate `p` and the others scaled by 1 / (1 - p), in training."""
        mask = self.mask(input)
        return input if mask is None else input * mask

    def mask(self, x: Tensor) -> Tensor | None:
        """The factor of each element of `x`: 0 at rate `p`, else 1 / (1 - p); None: 1 everywhere."""
        if not self.training or self.p == 0:
            return None
        if x.device.type != "cpu":
            return F.dropout(torch.ones_like(x, requires_grad=False), self.p)
        kept = torch.ge(
            _random_int16(x.numel()).view(x.shape),
            round(self.p * _LEVELS) - _LEVELS // 2,
            out=torch.empty_like(x, requires_grad=False),
        )
        return kept.mul_(1 / (1 - self.p))


def _random_int16(count: int) -> Tensor:
    """`(count,)` uniformly distributed int16 numbers."""
    seed = int(torch.empty((), dtype=torch.int64).random_())
    words = np.random.SFC64(seed).random_raw(-(-count // 4))
    return torch.from_numpy(words.view(np.int16)[:count])


def adapted_product(x: Tensor, base: nn.Linear, a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """y = W x + bias + b a (mask * x), with the frozen W and bias of `base`, as one autograd operation.

    The cost beside W x is passes over tensors as wide as the layer, because a and b are thin. Autograd
    would need three more than here: a copy of y, one of its gradient, and the sum of the two gradients of x.
    Thin products are computed in the order of factors that processors are three times as fast at.

    Args:
        x: `(rows, time, in)`.
        base: gets no gradient.
        a: `(rows, rank, in)`, a thin map per row.
        b: `(rows, out, rank)`.
        mask: dropout's factors, shaped like x.

    Returns:
        `(rows, time, out)`.
    """
    y: Tensor = _AdaptedProduct.apply(x, base.weight, base.bias, a, b, mask)
    return y.view(*x.shape[:2], -1)


class _AdaptedProduct(torch.autograd.Function):
    """Returns `(rows x time, out)`: a view must not leave an autograd function that writes in place."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, mask: Tensor | None
    ) -> Tensor:
        y = F.linear(x.reshape(-1, x.shape[-1]), weight, bias)
        # Under autocast y has the type that products are computed in, and in-place ones are not converted.
        seen = (x if mask is None else x * mask).to(y.dtype)
        a, b = a.to(y.dtype), b.to(y.dtype)
        low = torch.bmm(a, seen.transpose(1, 2))  # (rows, rank, time)
        y.view(*x.shape[:2], -1).baddbmm_(low.transpose(1, 2), b.transpose(1, 2))
        ctx.save_for_backward(weight, a, b, low, seen, mask)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, a, b, low, seen, mask = ctx.saved_tensors
        dy = gradients[0].view(*seen.shape[:2], -1)
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
