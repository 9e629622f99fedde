"""Dropout whose mask costs a CPU little."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """`nn.Dropout`, with 16 random bits an element on a CPU instead of one random number.

    torch draws elements one by one there, which took as long as the product of a layer with its weights: a
    LoRA's dropout is as wide as the layer. Here numpy's fastest generator draws them, started with a number
    of torch's, so that torch's seed and state decide. The rate is exact to 2^-16. Elsewhere torch's own is
    used. The mask is made of numbers: with truth values torch computes ten times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        """`input`, elements zero at rate `p` and the others scaled by 1 / (1 - p), in training."""
        mask = self.mask(input)
        return input if mask is None else input * mask

    def mask(self, x: Tensor) -> Tensor | None:
        """What `x` is multiplied with: 0 at rate `p`, else 1 / (1 - p); None: 1 everywhere."""
        if not self.training or self.p == 0:
            return None
        if x.device.type != "cpu":
            return F.dropout(torch.ones_like(x, requires_grad=False), self.p)
        kept = torch.ge(
            _random_numbers(x.numel()).view(x.shape),
            round(self.p * _LEVELS) - _LEVELS // 2,
            out=torch.empty_like(x, requires_grad=False),
        )
        return kept.mul_(1 / (1 - self.p))


def _random_numbers(count: int) -> Tensor:
    """`(count,)`, each of the 2^16 numbers of int16 as likely as any other."""
    seed = int(torch.empty((), dtype=torch.int64).random_())
    words = np.random.SFC64(seed).random_raw(-(-count // 4))
    return torch.from_numpy(words.view(np.int16)[:count])
