"""The SAML layer and what routers are made of, with parameters for every member of a crowd.

Each is the one-member module with one more dimension in front of its parameters, the members, and the same
arithmetic: a row meets its own member's parameters. Adapters are thin, so they are looked up for every row;
the weights of the routers' convolutions are not, so rows are put together by member there.
"""

from typing import Any

import torch
from torch import Tensor, nn

from saml.adapters.layer import MixtureLinear
from saml.adapters.router import PooledConvolution, seen_by_taps, sum_of_taps, weights_of
from saml.crowd.rows import Rows, chosen


class CrowdLinear(MixtureLinear):
    """A `MixtureLinear` with A of (members, E, rank, in) and B of (members, E, out, rank).

    All members start alike, as the one-member layer does with the same random numbers.
    """

    def __init__(self, base: nn.Linear, *others: Any, members: int, rows: Rows, **options: Any) -> None:
        super().__init__(base, *others, **options)
        self.rows = rows
        self.down = repeated(self.down, members)
        self.up = repeated(self.up, members)

    def forward(self, x: Tensor) -> Tensor:
        """`(rows, time, in)` to `(rows, time, out)`, every row with its member's experts.

        Beams of an utterance that share a route share the thin matrices: as if they were frames of one row.
        Raises RuntimeError when it was not said whose the rows are, or they do not fit.
        """
        rows = self.route.count if self.experts > 1 else self.rows.count
        if not rows or len(x) % rows:
            raise RuntimeError(f"{len(x)} input rows cannot belong to {rows} utterances")
        folded = x.reshape(rows, -1, x.shape[-1])
        return self._row_by_row(folded, self._weights(folded)).view(*x.shape[:-1], -1)

    def _experts(self, rows: int) -> tuple[Tensor, Tensor]:
        return self.rows.own(self.down, rows), self.rows.own(self.up, rows)


class _Affine(nn.Module):
    """What `nn.Linear` and `nn.Conv1d` are for one, with weight and bias for every member."""

    def __init__(self, one: nn.Linear | nn.Conv1d, members: int, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        assert one.bias is not None
        self.weight = repeated(one.weight, members)
        self.bias = repeated(one.bias, members)


class CrowdAffine(_Affine):
    """A linear map with few outputs: `(rows, ..., in)` to `(rows, ..., out)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Row by row its member's map."""
        weight, bias = self.rows.own(self.weight, len(x)), self.rows.own(self.bias, len(x))
        flat = x.reshape(len(x), -1, x.shape[-1])  # (rows, anything, in)
        return torch.baddbmm(bias[:, None], flat, weight.transpose(1, 2)).reshape(*x.shape[:-1], -1)


class CrowdConvolution(_Affine):
    """A `PooledConvolution` of (members, out, in, taps)."""

    def pooled(self, states: Tensor, mask: Tensor, attention: CrowdAffine) -> Tensor:
        """Row by row with its member's parameters: `(rows, time, in)` to `(rows, out)`."""
        present, own = self.rows.present(len(states)), self.rows.among_present(len(states))
        weight, bias = self._of(present, self.weight), self._of(present, self.bias)
        direction = self._of(present, attention.weight)  # (present, 1, out)
        kernels = torch.bmm(direction, weight.flatten(2)).view(len(present), *weight.shape[2:])
        constants = torch.bmm(direction, bias[..., None])[:, 0] + self._of(present, attention.bias)
        scores = sum_of_taps(torch.bmm(states, chosen(kernels, own))) + chosen(constants, own)
        seen = self.rows.together(seen_by_taps(states, weights_of(scores, mask)).flatten(1))
        means = torch.baddbmm(bias[:, None], seen, weight.flatten(2).transpose(1, 2))
        return self.rows.apart(means, len(states))

    @staticmethod
    def _of(present: Tensor, parameter: Tensor) -> Tensor:
        """What these members have of a parameter; everybody's as it is, for choosing copies."""
        return parameter if len(present) == len(parameter) else chosen(parameter, present)


def crowd_router(router: nn.Module, members: int, rows: Rows) -> nn.Module:
    """`router` with parameters for every member, all as they are in it; it computes as it did before."""
    for name, child in router.named_children():
        if isinstance(child, PooledConvolution):
            setattr(router, name, CrowdConvolution(child, members, rows))
        elif isinstance(child, nn.Linear):
            setattr(router, name, CrowdAffine(child, members, rows))
    return router


def repeated(one: Tensor, members: int) -> nn.Parameter:
    """A parameter `(members, ...)` that has `one` for each of them."""
    return nn.Parameter(one.detach().expand(members, *one.shape).clone())
