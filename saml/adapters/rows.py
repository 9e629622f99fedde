"""Which adapter each row of a batch uses, and rows sorted by their adapter."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The rows of a batch arranged with as many places for each adapter, and the way back.

    Attributes:
        present: the adapters that have rows, in ascending order, `(present,)`.
        places: the row in each place, `(present x places)`; None where rows are in that order already.
            Places that are left over repeat a row of the same adapter.
        back: the place of each row, `(rows,)`; None likewise.
    """

    present: Tensor
    places: Tensor | None
    back: Tensor | None


class Rows:
    """The adapter index of each row that layers and routers are given; one object for all of them.

    An input of k times as many rows (beam search repeats every utterance k times in a row) has each
    index k times. A single adapter serves all rows, and nothing needs to be assigned.
    """

    def __init__(self, adapters: int) -> None:
        self.adapters = adapters
        self._assigned: list[int] = []
        self._device = torch.device("cpu")
        self._known: dict[int, tuple[Tensor, Layout]] = {}

    def assign(self, adapters: Sequence[int], device: torch.device) -> None:
        """Row i uses `adapters[i]`, until the next call."""
        self._assigned, self._device, self._known = list(adapters), device, {}

    def sharing(self, rows: int) -> int:
        """How many groups of consecutive rows share an adapter for sure: beams of an utterance, or all rows.

        Raises RuntimeError when `rows` is not a multiple of the assigned rows, or nothing is assigned.
        """
        if self.adapters == 1:
            return 1
        self._look_up(rows)
        return len(self._assigned)

    def select(self, parameter: Tensor, rows: int) -> Tensor:
        """What each of `rows` rows uses of `parameter` `(adapters, ...)`: `(rows, ...)`.

        `(1, ...)` where there is a single adapter. Raises RuntimeError as `sharing` does.
        """
        return parameter if self.adapters == 1 else parameter.index_select(0, self._look_up(rows)[0])

    def present(self, parameter: Tensor, rows: int) -> Tensor:
        """The slices of `parameter` of those adapters that some of `rows` rows use: `(present, ...)`."""
        if self.adapters == 1:
            return parameter
        present = self._look_up(rows)[1].present
        return parameter if len(present) == self.adapters else parameter.index_select(0, present)

    def spread(self, x: Tensor, rows: int) -> Tensor:
        """`(present, ...)` to `(rows, ...)`, to each row what belongs to its adapter; `(1, ...)` for one."""
        if self.adapters == 1:
            return x
        indices, layout = self._look_up(rows)
        return x.index_select(0, torch.searchsorted(layout.present, indices))

    def together(self, x: Tensor) -> Tensor:
        """`(rows, ...)` to `(present, places, ...)`: the rows of each adapter side by side."""
        if self.adapters == 1:
            return x[None]
        layout = self._look_up(len(x))[1]
        ordered = x if layout.places is None else x.index_select(0, layout.places)
        return ordered.unflatten(0, (len(layout.present), -1))

    def apart(self, x: Tensor, rows: int) -> Tensor:
        """The inverse of `together`, for `rows` rows."""
        if self.adapters == 1:
            return x[0]
        layout = self._look_up(rows)[1]
        return x.flatten(0, 1) if layout.back is None else x.flatten(0, 1).index_select(0, layout.back)

    def _look_up(self, rows: int) -> tuple[Tensor, Layout]:
        """The adapter index of each of `rows` rows `(rows,)`, and their layout."""
        if not self._assigned:
            raise RuntimeError("an adapted layer ran before its rows were assigned to adapters")
        repeats, rest = divmod(rows, len(self._assigned))
        if rest or not repeats:
            raise RuntimeError(f"{rows} input rows cannot belong to {len(self._assigned)} utterances")
        if repeats not in self._known:
            indices = [index for index in self._assigned for _ in range(repeats)]
            self._known[repeats] = torch.tensor(indices, device=self._device), layout(indices, self._device)
        return self._known[repeats]


def layout(indices: Sequence[int], device: torch.device) -> Layout:
    """The layout of rows with these adapter indices."""
    rows_of: dict[int, list[int]] = {index: [] for index in sorted(set(indices))}
    for row, index in enumerate(indices):
        rows_of[index].append(row)
    most = max(map(len, rows_of.values()))
    places = list(chain.from_iterable(rows + rows[:1] * (most - len(rows)) for rows in rows_of.values()))
    back = [0] * len(indices)
    for number, rows in enumerate(rows_of.values()):
        for place, row in enumerate(rows):
            back[row] = number * most + place
    present = torch.tensor(list(rows_of), device=device)
    if places == list(range(len(indices))):
        return Layout(present, None, None)
    return Layout(present, torch.tensor(places, device=device), torch.tensor(back, device=device))
