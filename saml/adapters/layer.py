"""The SAML layer: a frozen linear map plus a mixture of LoRA experts (paper: section on the SAML layer)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saml.adapters.dropout import Dropout
from saml.adapters.product import adapted_product


class Route:
    """Mixing weights that several layers read: set by a router, or fixed, before those layers run.

    `weights` is `(rows, experts)`. A layer whose input has k times as many rows (beam search repeats every
    utterance k times in a row) repeats each route k times. Where `chosen` `(chosen rows,)` is set, layers are
    given these rows only.
    """

    __slots__ = ("chosen", "weights")

    def __init__(self) -> None:
        self.weights: Tensor | None = None
        self.chosen: Tensor | None = None

    @property
    def count(self) -> int:
        """How many rows have weights of their own. Raises RuntimeError when no route is set."""
        return len(self._given() if self.chosen is None else self.chosen)

    def rows(self, count: int) -> Tensor:
        """The weights for an input of `count` rows.

        Raises RuntimeError when no route is set or `count` is not a multiple of the routes' rows.
        """
        weights = self._given() if self.chosen is None else self._given()[self.chosen]
        repeats, rest = divmod(count, weights.shape[0])
        if rest:
            raise RuntimeError(f"{count} input rows cannot share {weights.shape[0]} routes")
        return weights if repeats == 1 else weights.repeat_interleave(repeats, dim=0)

    def _given(self) -> Tensor:
        if self.weights is None:
            raise RuntimeError("a layer with several experts ran before its route was set")
        return self.weights


class MixtureLinear(nn.Module):
    """A linear layer W with E LoRA experts, A_e (rank, in) and B_e (out, rank), and mixing weights p.

        merge:   y = W x + s (sum_e p_e B_e) (sum_f p_f A_f) x
        output:  y = W x + s  sum_e p_e B_e A_e x,                  s = alpha / rank

    Both are W x + b a x with thin matrices for each row: merged, a = sum_f p_f A_f and b = s sum_e p_e B_e;
    summed, all A_e below each other and all s p_e B_e side by side. With one expert, p = 1 and the layer is a
    plain LoRA; with one-hot p it is E separate LoRAs in one batch. The base is frozen.
    """

    def __init__(
        self,
        base: nn.Linear,
        route: Route,
        *,
        experts: int,
        rank: int,
        alpha: float,
        dropout: float,
        mixing: str,
    ) -> None:
        super().__init__()
        if mixing not in ("merge", "output"):
            raise ValueError(f"mixing must be 'merge' or 'output', not {mixing!r}")
        self.base = base.requires_grad_(False)
        self.route = route
        self.experts = experts
        self.rank = rank
        self.scaling = alpha / rank
        self.mixing = mixing
        self.dropout = Dropout(dropout)
        self.down = nn.Parameter(torch.empty(experts, rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(experts, base.out_features, rank))
        self.reset()

    def reset(self) -> None:
        """Independent Kaiming-uniform A for every expert, B zero: the layer starts as its base."""
        for expert in self.down:
            nn.init.kaiming_uniform_(expert, a=math.sqrt(5))
        nn.init.zeros_(self.up)

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """This layer's own parameters by name; the frozen base is not among them."""
        return {"down": self.down, "up": self.up}

    def forward(self, x: Tensor) -> Tensor:
        """`(rows, time, in)` to `(rows, time, out)`."""
        p = self._weights(x)
        return self._row_by_row(x, p) if torch.is_grad_enabled() else self._mixed_between(x, p)

    def _weights(self, x: Tensor) -> Tensor:
        """p for every row, `(rows, E)`."""
        if self.experts == 1:
            return x.new_ones(len(x), 1)
        return self.route.rows(len(x))

    def _row_by_row(self, x: Tensor, p: Tensor) -> Tensor:
        """With a and b of every row: for training, where rows have many frames."""
        down, up = self._experts(len(x))
        if self.mixing == "merge":
            a, b = _merged(down, p), _merged(up, self.scaling * p)
        else:
            a, b = down.flatten(1, 2), _beside_each_other(self.scaling * p[..., None, None] * up)
        return adapted_product(x, self.base, a.expand(len(x), -1, -1), b, self.dropout.mask(x))

    def _experts(self, rows: int) -> tuple[Tensor, Tensor]:
        """A and B of each row, or of all: `(rows or 1, E, rank, in)` and `(rows or 1, E, out, rank)`."""
        return self.down[None], self.up[None]

    def _mixed_between(self, x: Tensor, p: Tensor) -> Tensor:
        """With all experts' A x, mixed, and their B: for searching, where many rows have one frame each."""
        p = p[:, None, :, None]  # (rows, 1, E, 1)
        h = F.linear(self.dropout(x), self.down.flatten(0, 1)).unflatten(-1, (self.experts, self.rank))
        if self.mixing == "merge":
            h = (p * h).sum(dim=2, keepdim=True)
        u = self.scaling * (p * h).flatten(2)  # (rows, time, E rank)
        y: Tensor = self.base(x) + u @ self.up.transpose(1, 2).flatten(0, 1)
        return y


def _merged(experts: Tensor, p: Tensor) -> Tensor:
    """sum_e p_e M_e: `(rows or 1, E, n, m)` and `(rows, E)` to `(rows, n, m)`."""
    return (p[:, None] @ experts.flatten(2)).view(-1, *experts.shape[2:])


def _beside_each_other(experts: Tensor) -> Tensor:
    """`(rows, E, out, rank)` to `(rows, out, E rank)`."""
    return experts.transpose(1, 2).flatten(2)
