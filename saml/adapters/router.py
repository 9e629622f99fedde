"""The routers: from a sequence of states to one point on the simplex per utterance."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PooledConvolution(nn.Conv1d):
    """A convolution over time, c(x), of which only scores a . c(x)_t and a mean sum_t w_t c(x)_t are wanted.

    Both are linear in c(x), and so they are computed without it. The score is a convolution with a single
    output, whose kernel is a . W, and the mean is W applied to the mean of what each tap of the kernel sees:

        a . c(x)_t         = sum_k (a . W_k) . x_(t+k-1) + a . b
        sum_t w_t c(x)_t   = sum_k W_k (sum_t w_t x_(t+k-1)) + b        for weights w that sum to 1

    which is as many times cheaper as c(x) is wide: the convolution itself is `width` x `width` x 3 products a
    frame, at every layer of the encoder more than half as many as all that the layer computes besides.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width, kernel_size=3, padding=1)

    def scores(self, states: Tensor, attention: nn.Linear) -> Tensor:
        """`attention` of every convolved frame: `(batch, time, width)` to `(batch, time)`."""
        assert self.bias is not None
        kernel = (attention.weight @ self.weight.flatten(1)).view(self.weight.shape[1:])  # (width, taps)
        return sum_of_taps(states @ kernel) + attention(self.bias)

    def mean(self, states: Tensor, weights: Tensor) -> Tensor:
        """The convolved frames' mean with `weights` `(batch, time)` that sum to 1: `(batch, width)`."""
        return F.linear(seen_by_taps(states, weights).flatten(1), self.weight.flatten(1), self.bias)


def sum_of_taps(taps: Tensor) -> Tensor:
    """y_t = sum_k taps_(t+k-1),k with zeros outside: `(batch, time, taps)` to `(batch, time)`."""
    time, count = taps.shape[1:]
    padded = F.pad(taps, (0, 0, count // 2, count // 2))
    return torch.stack([padded[:, k : k + time, k] for k in range(count)]).sum(0)


def seen_by_taps(states: Tensor, weights: Tensor, taps: int = 3) -> Tensor:
    """sum_t w_t x_(t+k-1) for each tap k: states and weights `(batch, time)` to `(batch, width, taps)`."""
    time, reach = states.shape[1], taps // 2
    padded = F.pad(weights, (reach, reach))
    moved = torch.stack([padded[:, 2 * reach - k :][:, :time] for k in range(taps)], dim=-1)
    return states.transpose(1, 2) @ moved.to(states.dtype)


class Router(nn.Module):
    """Conv1d, attention pooling over real frames, a linear map to the experts, softmax (paper: router).

    Padding is zeroed before the convolution, which itself pads with zeros, so an utterance gets the same
    route alone and in any batch.
    """

    def __init__(self, width: int, experts: int, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.convolution = PooledConvolution(width)
        self.attention = nn.Linear(width, 1)
        self.output = nn.Linear(width, experts)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States `(batch, time, width)` and their mask `(batch, time)` to weights `(batch, experts)`."""
        pooled = _pool(self.convolution, self.attention, states, mask)
        return torch.softmax(self.output(pooled) / self.temperature, dim=-1)


class CrossRouter(nn.Module):
    """The released router of cross-attention: decoder and encoder states pooled apart, then concatenated."""

    def __init__(self, width: int, experts: int, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.convolution = PooledConvolution(width)
        self.attention = nn.Linear(width, 1)
        self.encoder_convolution = PooledConvolution(width)
        self.encoder_attention = nn.Linear(width, 1)
        self.output = nn.Linear(2 * width, experts)

    def forward(self, states: Tensor, mask: Tensor, heard: Tensor) -> Tensor:
        """Decoder states `(batch, tokens, width)`, their mask, what `hear` made: to `(batch, experts)`."""
        pooled = _pool(self.convolution, self.attention, states, mask)
        return torch.softmax(self.output(torch.cat([pooled, heard], dim=-1)) / self.temperature, dim=-1)

    def hear(self, states: Tensor, mask: Tensor) -> Tensor:
        """Encoder states `(batch, time, width)`, pooled `(batch, width)`, for all layers and steps."""
        return _pool(self.encoder_convolution, self.encoder_attention, states, mask)


def _pool(convolution: PooledConvolution, attention: nn.Linear, states: Tensor, mask: Tensor) -> Tensor:
    """States `(batch, time, width)` and their mask `(batch, time)` to one vector each, `(batch, width)`."""
    states = states.masked_fill(~mask[..., None], 0.0)
    scores = convolution.scores(states, attention).masked_fill(~mask, -torch.inf)
    return convolution.mean(states, torch.softmax(scores, dim=1))
