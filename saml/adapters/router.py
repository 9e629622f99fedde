"""The routers: from a sequence of states to one point on the simplex per utterance."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PooledConvolution(nn.Conv1d):
    """A convolution over time whose frames c(x) are pooled by attention, which needs none of them.

    Scores a . c(x)_t and the mean sum_t w_t c(x)_t are linear in c(x). So the score is a convolution with a
    single output, whose kernel is a . W, and the mean is W applied to the mean of what each tap sees:

        a . c(x)_t         = sum_k (a . W_k) . x_(t+k-1) + a . b
        sum_t w_t c(x)_t   = sum_k W_k (sum_t w_t x_(t+k-1)) + b        for weights w that sum to 1

    In place of the `width` x `width` x 3 products of a frame, a quarter of what a layer of the encoder
    computes besides, that is `width` x 6.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width, kernel_size=3, padding=1)

    def pooled(self, states: Tensor, mask: Tensor, attention: nn.Linear) -> Tensor:
        """`(batch, time, width)`, zeros where `mask` `(batch, time)` is not set, to `(batch, width)`."""
        assert self.bias is not None
        kernel = (attention.weight @ self.weight.flatten(1)).view(self.weight.shape[1:])  # (width, taps)
        # The second term is the same for all frames: softmax leaves it out, and the parameters stay in use.
        scores = sum_of_taps(states @ kernel) + attention(self.bias)
        seen = seen_by_taps(states, weights_of(scores, mask))
        return F.linear(seen.flatten(1), self.weight.flatten(1), self.bias)


def weights_of(scores: Tensor, mask: Tensor) -> Tensor:
    """Attention's weights: softmax over the frames of `mask`, `(batch, time)`."""
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)


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
    return convolution.pooled(states.masked_fill(~mask[..., None], 0.0), mask, attention)
