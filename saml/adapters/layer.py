"""The SAML layer: a frozen linear map plus a mixture of LoRA experts (paper: section on the SAML layer)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saml.adapters.dropout import Dropout


class Route:
    """Mixing weights that several layers read: set by a router, or fixed, before those layers run.

    `weights` is `(rows, experts)`, or `(rows, time, experts)` for routes per token. A layer whose input has
    k times as many rows (beam search repeats every utterance k times in a row) repeats each route k times.
    Where `chosen` `(chosen rows,)` is set, layers are given these rows only.
    """

    __slots__ = ("chosen", "weights")

    def __init__(self) -> None:
        self.weights: Tensor | None = None
        self.chosen: Tensor | None = None

    def rows(self, count: int) -> Tensor:
        """The weights for an input of `count` rows.

        Raises RuntimeError when no route is set or `count` is not a multiple of the routes' rows.
        """
        if self.weights is None:
            raise RuntimeError("a layer with several experts ran before its route was set")
        weights = self.weights if self.chosen is None else self.weights[self.chosen]
        repeats, rest = divmod(count, weights.shape[0])
        if rest:
            raise RuntimeError(f"{count} input rows cannot share {weights.shape[0]} routes")
        return weights if repeats == 1 else weights.repeat_interleave(repeats, dim=0)


class MixtureLinear(nn.Module):
    """A linear layer W with E LoRA experts, A_e (rank, in) and B_e (out, rank), and mixing weights p.

        merge:   y = W x + s (sum_e p_e B_e) (sum_f p_f A_f) x
        output:  y = W x + s  sum_e p_e B_e A_e x,                  s = alpha / rank

    Both are two thin matrix products, `A` stacked to (E rank, in) and `B` to (out, E rank), with a tiny step
    between them: h = A x; u_e = p_e sum_f p_f h_f or u_e = p_e h_e; y = W x + s B u. With one expert, p = 1
    and the layer is a plain LoRA; with one-hot p it is E separate LoRAs in one batch.
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
        self.base = base
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
        h = self._into(self.dropout(x))
        u = h if self.experts == 1 else self._mix(h)
        return self._sum(x, self.scaling * u)

    def _into(self, x: Tensor) -> Tensor:
        """A x of all experts: `(rows, time, in)` to `(rows, time, E rank)`."""
        return F.linear(x, self.down.flatten(0, 1))

    def _sum(self, x: Tensor, u: Tensor) -> Tensor:
        """W x + B u summed over experts, `(rows, time, out)`, in one tensor: a second would be as wide."""
        y = self.base(x.flatten(0, -2))
        b = self.up.permute(0, 2, 1).flatten(0, 1)  # (E, out, rank) -> (E rank, out)
        return y.addmm_(u.flatten(0, -2).to(y.dtype), b.to(y.dtype)).unflatten(0, x.shape[:-1])

    def _mix(self, h: Tensor) -> Tensor:
        p = self.route.rows(h.shape[0])
        p = p[:, None, :, None] if p.dim() == 2 else p[..., None]  # (rows, 1 or time, E, 1)
        h = h.unflatten(-1, (self.experts, self.rank))  # (rows, time, E, rank)
        if self.mixing == "merge":
            h = (p * h).sum(dim=2, keepdim=True)
        return (p * h).flatten(2)
