"""The routers: from a sequence of states to one point on the simplex per utterance."""

import torch
from torch import Tensor, nn


class Router(nn.Module):
    """Conv1d, attention pooling over real frames, a linear map to the experts, softmax (paper: router).

    Padding is zeroed before the convolution, which itself pads with zeros, so an utterance gets the same
    route alone and in any batch.
    """

    def __init__(self, width: int, experts: int, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.convolution = nn.Conv1d(width, width, kernel_size=3, padding=1)
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
        self.convolution = nn.Conv1d(width, width, kernel_size=3, padding=1)
        self.attention = nn.Linear(width, 1)
        self.encoder_convolution = nn.Conv1d(width, width, kernel_size=3, padding=1)
        self.encoder_attention = nn.Linear(width, 1)
        self.output = nn.Linear(2 * width, experts)

    def forward(self, states: Tensor, mask: Tensor, heard: Tensor) -> Tensor:
        """Decoder states `(batch, tokens, width)`, their mask, what `hear` made: to `(batch, experts)`."""
        pooled = _pool(self.convolution, self.attention, states, mask)
        return torch.softmax(self.output(torch.cat([pooled, heard], dim=-1)) / self.temperature, dim=-1)

    def hear(self, states: Tensor, mask: Tensor) -> Tensor:
        """Encoder states `(batch, time, width)`, pooled `(batch, width)`, for all layers and steps."""
        return _pool(self.encoder_convolution, self.encoder_attention, states, mask)


def _pool(convolution: nn.Conv1d, attention: nn.Linear, states: Tensor, mask: Tensor) -> Tensor:
    """States `(batch, time, width)` and their mask `(batch, time)` to one vector each, `(batch, width)`."""
    states = states.masked_fill(~mask[..., None], 0.0)
    states = convolution(states.transpose(1, 2)).transpose(1, 2)
    scores = attention(states).squeeze(-1).masked_fill(~mask, -torch.inf)  # (batch, time)
    return (torch.softmax(scores, dim=1)[..., None] * states).sum(dim=1)  # (batch, width)
