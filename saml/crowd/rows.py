"""Whose each row of a batch is, and rows sorted by whom they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How the rows of a batch stand when each member has as many places, and how they get back.

    Attributes:
        present: the members who have rows, in order, `(present,)`.
        places: the row that stands in each place, `(present x places)`; None where rows stand so already.
            Places that are left over repeat a row of the same member.
        back: the place of each row, `(rows,)`; None likewise.
    """

    present: Tensor
    places: Tensor | None
    back: Tensor | None


class Rows:
    """The members of the rows that layers and routers are given: set before these run.

    As with routes, an input of k times as many rows (beam search repeats every utterance k times in a row)
    has each row's member k times.
    """

    def __init__(self) -> None:
        self._members: list[int] = []
        self._device = torch.device("cpu")
        self._known: dict[int, tuple[Tensor, Layout]] = {}

    def set(self, members: Sequence[int], device: torch.device) -> None:
        """Row i belongs to `members[i]`, from now on."""
        self._members, self._device, self._known = list(members), device, {}

    @property
    def count(self) -> int:
        """How many rows have a member: utterances, whose beams an input may have in a row."""
        return len(self._members)

    def of(self, count: int) -> Tensor:
        """The member of each of `count` rows, `(count,)`.

        Raises RuntimeError when nothing is set or `count` is not a multiple of the rows that are.
        """
        return self._look_up(count)[0]

    def own(self, parameter: Tensor, count: int) -> Tensor:
        """What each of `count` rows has of `parameter` `(members, ...)`: `(count, ...)`."""
        return chosen(parameter, self.of(count))

    def present(self, count: int) -> Tensor:
        """The members who have some of `count` rows, `(present,)`, in order."""
        return self._look_up(count)[1].present

    def among_present(self, count: int) -> Tensor:
        """Where among those present each of `count` rows' member is, `(count,)`."""
        return torch.searchsorted(self.present(count), self.of(count))

    def together(self, x: Tensor) -> Tensor:
        """`(rows, ...)` to `(present, places, ...)`: each member's rows side by side."""
        layout = self._look_up(len(x))[1]
        sorted_ = x if layout.places is None else x.index_select(0, layout.places)
        return sorted_.unflatten(0, (len(layout.present), -1))

    def apart(self, x: Tensor, count: int) -> Tensor:
        """The inverse of `together`, for `count` rows."""
        layout = self._look_up(count)[1]
        return x.flatten(0, 1) if layout.back is None else x.flatten(0, 1).index_select(0, layout.back)

    def _look_up(self, count: int) -> tuple[Tensor, Layout]:
        if not self._members:
            raise RuntimeError("a layer of a crowd ran before it was said whose its rows are")
        repeats, rest = divmod(count, len(self._members))
        if rest:
            raise RuntimeError(f"{count} input rows cannot belong to {len(self._members)} utterances")
        if repeats not in self._known:
            members = [member for member in self._members for _ in range(repeats)]
            self._known[repeats] = torch.tensor(members, device=self._device), layout(members, self._device)
        return self._known[repeats]


def layout(members: Sequence[int], device: torch.device) -> Layout:
    """The layout of rows that belong to `members`."""
    own: dict[int, list[int]] = {member: [] for member in sorted(set(members))}
    for row, member in enumerate(members):
        own[member].append(row)
    most = max(map(len, own.values()))
    places = list(chain.from_iterable(rows + rows[:1] * (most - len(rows)) for rows in own.values()))
    back = [0] * len(members)
    for number, rows in enumerate(own.values()):
        for place, row in enumerate(rows):
            back[row] = number * most + place
    present = torch.tensor(list(own), device=device)
    if places == list(range(len(members))):
        return Layout(present, None, None)
    return Layout(present, torch.tensor(places, device=device), torch.tensor(back, device=device))


def chosen(parameter: Tensor, members: Tensor) -> Tensor:
    """`parameter[members]`."""
    made: Tensor = _Chosen.apply(parameter, members)
    return made


class _Chosen(torch.autograd.Function):
    """`index_select` whose gradient a CPU adds up slice by slice: number by number it takes longer."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, members: Tensor) -> Tensor:
        ctx.save_for_backward(members)
        ctx.count = len(parameter)
        return parameter.index_select(0, members)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (members,), (gradient,) = ctx.saved_tensors, gradients
        total = gradient.new_zeros(ctx.count, *gradient.shape[1:])
        if gradient.device.type != "cpu":
            return total.index_add_(0, members, gradient), None
        for row, member in enumerate(members.tolist()):
            total[member].add_(gradient[row])
        return total, None
