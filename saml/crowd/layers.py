"""The SAML layer and what routers are made of, with parameters for every member of a crowd.

Each is the one-member module with one more dimension in front of its parameters, the members, and the same
arithmetic: a row meets its own member's parameters. Adapters are thin, so they are looked up for every row;
the routers' convolutions are not, so rows are put together by member there.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saml.adapters.layer import MixtureLinear
from saml.crowd.rows import Rows


class CrowdLinear(MixtureLinear):
    """A `MixtureLinear` with A of (members, E, rank, in) and B of (members, E, out, rank).

    All members start alike, as the one-member layer does with the same random numbers.
    """

    def __init__(self, base: nn.Linear, *others: Any, members: int, rows: Rows, **options: Any) -> None:
        super().__init__(base, *others, **options)
        self.rows = rows
        self.down = repeated(self.down, members)
        self.up = repeated(self.up, members)

    def _into(self, x: Tensor) -> Tensor:
        a = self.down.index_select(0, self.rows.of(len(x))).flatten(1, 2)  # (rows, E rank, in)
        return torch.bmm(x, a.transpose(1, 2))

    def _add(self, y: Tensor, u: Tensor) -> Tensor:
        b = self.up.index_select(0, self.rows.of(len(u)))  # (rows, E, out, rank)
        return torch.baddbmm(y, u, b.transpose(2, 3).flatten(1, 2))


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
        members = self.rows.of(len(x))
        weight, bias = self.weight.index_select(0, members), self.bias.index_select(0, members)
        flat = x.reshape(len(x), -1, x.shape[-1])  # (rows, anything, in)
        return torch.baddbmm(bias[:, None], flat, weight.transpose(1, 2)).reshape(*x.shape[:-1], -1)


class CrowdConvolution(_Affine):
    """A convolution over time, padded to leave lengths alone: `(rows, in, time)` to `(rows, out, time)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Row by row its member's convolution: those of all members present as groups of one."""
        present = self.rows.present(len(x))
        everybody = len(present) == len(self.weight)
        weight = self.weight if everybody else self.weight.index_select(0, present)
        bias = self.bias if everybody else self.bias.index_select(0, present)
        side_by_side = self.rows.together(x).transpose(0, 1).flatten(1, 2)  # (places, present x in, time)
        y = F.conv1d(
            side_by_side,
            weight.flatten(0, 1),
            bias.flatten(),
            padding=weight.shape[-1] // 2,
            groups=len(present),
        )
        return self.rows.apart(y.unflatten(1, (len(present), -1)).transpose(0, 1), len(x))


def crowd_router(router: nn.Module, members: int, rows: Rows) -> nn.Module:
    """`router` with parameters for every member, all as they are in it; it computes as it did before."""
    for name, child in router.named_children():
        if isinstance(child, nn.Conv1d):
            setattr(router, name, CrowdConvolution(child, members, rows))
        elif isinstance(child, nn.Linear):
            setattr(router, name, CrowdAffine(child, members, rows))
    return router


def repeated(one: Tensor, members: int) -> nn.Parameter:
    """A parameter `(members, ...)` that has `one` for each of them."""
    return nn.Parameter(one.detach().expand(members, *one.shape).clone())
