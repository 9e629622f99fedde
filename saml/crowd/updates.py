"""How the parameters of a crowd move: every member's as if it were alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saml.training.optim import SeparateUpdates


class MemberUpdates(SeparateUpdates):
    """`SeparateUpdates` in which every slice, a member, has a learning rate of its own.

    Members end their epochs at different times, and a rate falls with its member's epochs.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, learning_rate: float, **options: Any) -> None:
        super().__init__(parameters, learning_rate=learning_rate, **options)
        self._each = [learning_rate] * len(self._steps)
        self._on_device: Tensor | None = None

    def _rates(self, here: Tensor) -> Tensor:
        if self._on_device is None:
            self._on_device = torch.tensor(self._each, dtype=here.dtype, device=here.device)
        return here * self._on_device.view_as(here)

    def lower(self, members: Sequence[int]) -> None:
        """Lower the learning rates of `members`: each has ended an epoch."""
        for member in members:
            self._each[member] *= self._decay
        self._on_device = None

    def clear(self) -> None:
        """Throw the gradients away."""
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Learning rates, step counts and moments."""
        return {**super().state_dict(), "each": list(self._each)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        super().load_state_dict(state)
        self._each, self._on_device = list(state["each"]), None


class CrowdUpdates:
    """`AlternatingUpdates` for every member at once: clipping, moments, step counts and rates of their own.

    Everybody begins with the first step and takes each until leaving, so a turn is the same for all.
    """

    def __init__(
        self,
        experts: Sequence[nn.Parameter],
        routers: Sequence[nn.Parameter],
        *,
        learning_rate: Mapping[str, float],
        clip_norm: float,
        decay: float = 1.0,
        interleaved: bool = True,
    ) -> None:
        groups = {"router": list(routers), "expert": list(experts)}
        self._groups = [
            MemberUpdates(group, learning_rate=learning_rate[name], clip_norm=clip_norm, decay=decay)
            for name, group in groups.items()
            if group
        ]
        self._interleaved = interleaved
        self._steps = 0

    def step(self, groups: Tensor) -> None:
        """One step of the members that occur in `groups` `(batch,)`; the others stay where they are."""
        turn = self._steps % len(self._groups)
        for index, group in enumerate(self._groups):
            if index == turn or not self._interleaved:
                group.step(groups)
            else:
                group.clear()
        self._steps += 1

    def end_epoch(self, members: Sequence[int] = ()) -> None:
        """Lower the learning rates of `members`."""
        for group in self._groups:
            group.lower(members)

    def state_dict(self) -> dict[str, Any]:
        """All optimisers and whose turn it is."""
        return {"steps": self._steps, "groups": [group.state_dict() for group in self._groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._steps = state["steps"]
        for group, own in zip(self._groups, state["groups"], strict=True):
            group.load_state_dict(own)
