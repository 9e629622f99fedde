"""The SAML layer: a frozen linear map plus a mixture of LoRA experts (SAML, section on the SAML layer)."""

import math

import torch
from torch import Tensor, nn

from saml.adapters.cpu_kernels import Dropout, adapted_product
from saml.adapters.rows import Rows

MIXING = ("merge", "output")


class Route:
    """Mixing weights that several layers read: set by a router, or fixed, before those layers run.

    `weights` is `(rows, experts)`. A layer whose input has k times as many rows (beam search repeats every
    utterance k times in a row) uses each route k times. Where `chosen` `(chosen rows,)` is set, layers are
    given these rows only.
    """

    __slots__ = ("chosen", "weights")

    def __init__(self) -> None:
        self.weights: Tensor | None = None
        self.chosen: Tensor | None = None

    def current(self) -> Tensor:
        """The weights of the rows in use, `(rows, experts)`. Raises RuntimeError when no route is set."""
        if self.weights is None:
            raise RuntimeError("a layer with several experts ran before its route was set")
        return self.weights if self.chosen is None else self.weights[self.chosen]


class MixtureLinear(nn.Module):
    """A linear layer W with A adapters of E LoRA experts each, and mixing weights p.

    An adapter has A_e (rank, in) and B_e (out, rank); each row of a batch uses the adapter of its index:

        merge:   y = W x + s (sum_e p_e B_e) (sum_f p_f A_f) x
        output:  y = W x + s  sum_e p_e B_e A_e x,                  s = alpha / rank

    Both are W x + b a x with thin matrices for each row: merged, a = sum_f p_f A_f and b = s sum_e p_e B_e;
    summed, all A_e stacked and all s p_e B_e side by side. With one expert, p = 1 and the layer is a plain
    LoRA. The base is frozen.

    Attributes:
        down: A, `(adapters, experts, rank, in)`.
        up: B, `(adapters, experts, out, rank)`.
    """

    def __init__(
        self,
        base: nn.Linear,
        route: Route,
        rows: Rows,
        *,
        experts: int,
        rank: int,
        alpha: float,
        dropout: float,
        mixing: str,
        independent: bool = False,
    ) -> None:
        """See `AdaptedRecogniser` for `independent`. Raises ValueError for an unknown mixing rule."""
        super().__init__()
        if mixing not in MIXING:
            raise ValueError(f"mixing must be one of {', '.join(MIXING)}, not {mixing!r}")
        self.base = base.requires_grad_(False)
        self.route = route
        self.rows = rows
        self.experts = experts
        self.rank = rank
        self.scaling = alpha / rank
        self.mixing = mixing
        self.dropout = Dropout(dropout)
        self.down = nn.Parameter(torch.empty(rows.adapters, experts, rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(rows.adapters, experts, base.out_features, rank))
        self._initialise(independent)

    @torch.no_grad()
    def _initialise(self, independent: bool) -> None:
        """Kaiming-uniform A, drawn per expert; B is zero, so the layer starts as its base."""
        for expert in (self.down if independent else self.down[:1]).flatten(0, 1):
            nn.init.kaiming_uniform_(expert, a=math.sqrt(5))
        if not independent:
            self.down.copy_(self.down[:1].expand_as(self.down))

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """This layer's own parameters by name; the frozen base is not among them."""
        return {"down": self.down, "up": self.up}

    def forward(self, x: Tensor) -> Tensor:
        """`(rows, time, in)` to `(rows, time, out)`.

        Rows that share adapter and route (beams of an utterance) are computed as frames of one row. Raises
        RuntimeError when no route is set, or the rows do not fit the assigned ones.
        """
        p = self.route.current() if self.experts > 1 else None
        groups = self.rows.sharing(len(x)) if p is None else len(p)
        if len(x) % groups:
            raise RuntimeError(f"{len(x)} input rows cannot belong to {groups} utterances")
        folded = x.reshape(groups, -1, x.shape[-1])
        a, b = self._thin(groups, p)
        y = adapted_product(folded, self.base, a.expand(groups, -1, -1), b, self.dropout.mask(folded))
        return y.view(*x.shape[:-1], -1)

    def _thin(self, groups: int, p: Tensor | None) -> tuple[Tensor, Tensor]:
        """a `(groups or 1, rank, in)` and b `(groups, out, rank)`; of rank E r with "output"."""
        down, up = self.rows.select(self.down, groups), self.rows.select(self.up, groups)
        if p is None:
            return down[:, 0], self.scaling * up[:, 0]
        if self.mixing == "merge":
            return _merged(down, p), _merged(up, self.scaling * p)
        scaled = self.scaling * p[..., None, None] * up  # (groups, E, out, rank)
        return down.flatten(1, 2), scaled.transpose(1, 2).flatten(2)


def _merged(experts: Tensor, p: Tensor) -> Tensor:
    """sum_e p_e M_e: `(groups or 1, E, n, m)` and `(groups, E)` to `(groups, n, m)`."""
    return (p[:, None] @ experts.flatten(2)).view(-1, *experts.shape[2:])
