"""The SAML layer: a frozen linear map plus a mixture of LoRA experts (SAML, section on the SAML layer)."""

import math

import torch
from torch import Tensor, nn

from saml.adapters.cpu_kernels import Dropout, adapted_product
from saml.adapters.rows import Rows

MIXING = ("merge", "output")
# What the experts of a layer have in common: nothing, a LoRA beside them that is always active, or A.
SHARED = ("nothing", "lora", "down")


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

    Experts may share something (`shared`): with "lora" a further LoRA, s B_0 A_0 x, is always active beside
    them; with "down" they have one A, and both mixing rules are s (sum_e p_e B_e) A x.

    Attributes:
        down: A, `(adapters, experts, rank, in)`; `(adapters, 1, rank, in)` where it is shared.
        up: B, `(adapters, experts, out, rank)`.
        shared_down, shared_up: A_0 and B_0, `(adapters, 1, rank, in)` and `(adapters, 1, out, rank)`; None
            without a shared LoRA.
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
        shared: str = "nothing",
        independent: bool = False,
    ) -> None:
        """See `AdaptedRecogniser` for `independent`.

        Raises ValueError for an unknown mixing rule, or something unknown to share.
        """
        super().__init__()
        if mixing not in MIXING:
            raise ValueError(f"mixing must be one of {', '.join(MIXING)}, not {mixing!r}")
        if shared not in SHARED:
            raise ValueError(f"shared must be one of {', '.join(SHARED)}, not {shared!r}")
        self.base = base.requires_grad_(False)
        self.route = route
        self.rows = rows
        self.experts = experts
        self.rank = rank
        self.scaling = alpha / rank
        self.mixing = mixing
        self.dropout = Dropout(dropout)
        self.down = self._fresh_down(1 if shared == "down" else experts, independent)
        self.up = self._fresh_up(experts)
        self.shared_down = self._fresh_down(1, independent) if shared == "lora" else None
        self.shared_up = self._fresh_up(1) if shared == "lora" else None

    @torch.no_grad()
    def _fresh_down(self, experts: int, independent: bool) -> nn.Parameter:
        """Kaiming-uniform A, drawn per expert."""
        down = torch.empty(self.rows.adapters, experts, self.rank, self.base.in_features)
        for expert in (down if independent else down[:1]).flatten(0, 1):
            nn.init.kaiming_uniform_(expert, a=math.sqrt(5))
        return nn.Parameter(down if independent else down[:1].repeat(self.rows.adapters, 1, 1, 1))

    def _fresh_up(self, experts: int) -> nn.Parameter:
        """B is zero, so the layer starts as its base."""
        return nn.Parameter(torch.zeros(self.rows.adapters, experts, self.base.out_features, self.rank))

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """This layer's own parameters by name; the frozen base is not among them."""
        own = {"down": self.down, "up": self.up}
        if self.shared_down is not None and self.shared_up is not None:
            own |= {"shared_down": self.shared_down, "shared_up": self.shared_up}
        return own

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
        """a `(groups or 1, n, in)` and b `(groups or 1, out, n)`, n being the rank of the sum.

        n is `rank`, or E `rank` with "output", and `rank` more with a shared LoRA.
        """
        a, b = self._mixed(self.rows.select(self.down, groups), self.rows.select(self.up, groups), p)
        if self.shared_down is None or self.shared_up is None:
            return a, b
        shared_a = self.rows.select(self.shared_down, groups)[:, 0].expand(len(a), -1, -1)
        shared_b = self.scaling * self.rows.select(self.shared_up, groups)[:, 0].expand(len(b), -1, -1)
        return torch.cat([shared_a, a], dim=1), torch.cat([shared_b, b], dim=2)

    def _mixed(self, down: Tensor, up: Tensor, p: Tensor | None) -> tuple[Tensor, Tensor]:
        """a and b of the experts alone."""
        if p is None:
            return down[:, 0], self.scaling * up[:, 0]
        if down.shape[1] == 1:
            return down[:, 0], _merged(up, self.scaling * p)
        if self.mixing == "merge":
            return _merged(down, p), _merged(up, self.scaling * p)
        scaled = self.scaling * p[..., None, None] * up  # (groups, E, out, rank)
        return down.flatten(1, 2), scaled.transpose(1, 2).flatten(2)


def _merged(experts: Tensor, p: Tensor) -> Tensor:
    """sum_e p_e M_e: `(groups or 1, E, n, m)` and `(groups, E)` to `(groups, n, m)`."""
    return (p[:, None] @ experts.flatten(2)).view(-1, *experts.shape[2:])
