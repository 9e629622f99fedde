"""The router: from a sequence of states to one point on the simplex per utterance."""

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
        states = states.masked_fill(~mask[..., None], 0.0)
        states = self.convolution(states.transpose(1, 2)).transpose(1, 2)
        scores = self.attention(states).squeeze(-1).masked_fill(~mask, -torch.inf)  # (batch, time)
        pooled = (torch.softmax(scores, dim=1)[..., None] * states).sum(dim=1)  # (batch, width)
        return torch.softmax(self.output(pooled) / self.temperature, dim=-1)
