"""How parameters move: what differs between the stages, behind the same few methods."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from saml.training.optimisers import Adam, AdamW


class Updates(Protocol):
    """Takes one step from the gradients in place, and clears them."""

    def step(self, groups: Tensor) -> None:
        """Move what is trained; `groups` `(batch,)` are the experts or members that the batch belonged to."""

    def end_epoch(self) -> None:
        """An epoch over the data has ended: whoever lowers rates by epochs does."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""


class WarmUpUpdates:
    """AdamW with a linear warm-up and then a decay; for training a base model.

    `schedule` is "cosine", to zero at the end of `steps`, or "inverse_sqrt": by the inverse square root of
    the steps, as in "Attention is all you need", which leaves the last epochs a rate to differ by.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        *,
        learning_rate: float,
        weight_decay: float,
        steps: int,
        warm_up_share: float,
        clip_norm: float,
        schedule: str = "cosine",
    ) -> None:
        self._parameters = list(parameters)
        self._clip_norm = clip_norm
        self._optimiser = AdamW(
            self._parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay
        )
        warm_up = max(1, round(warm_up_share * steps))

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            if schedule == "inverse_sqrt":
                return math.sqrt(warm_up / (step + 1))
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))

        self._schedule = LambdaLR(self._optimiser, factor)

    def step(self, groups: Tensor) -> None:
        """One AdamW step on gradients clipped to `clip_norm`."""
        nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad()

    def end_epoch(self) -> None:
        """Nothing: the schedule goes by steps."""

    def state_dict(self) -> dict[str, Any]:
        """Moments and schedule position."""
        return {"optimiser": self._optimiser.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])


class AlternatingUpdates:
    """Adam for routers and Adam for experts on alternate steps, the first step for the routers (paper.md).

    Without routers every step is the experts', without experts (frozen ones) every step is the routers'. Not
    `interleaved`, both take every step: then experts move as often as one LoRA does for the same speech.
    Learning rates fall by `decay` each epoch.
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
        self._groups = [group for group in groups.values() if group]
        self._optimisers = [Adam(group, lr=learning_rate[name]) for name, group in groups.items() if group]
        self._clip_norm = clip_norm
        self._decay = decay
        self._interleaved = interleaved
        self._steps = 0

    def step(self, groups: Tensor) -> None:
        """One step of the group whose turn it is, or of both; gradients that are not used are thrown away."""
        turn = self._steps % len(self._groups)
        for index, (group, optimiser) in enumerate(zip(self._groups, self._optimisers, strict=True)):
            if index == turn or not self._interleaved:
                nn.utils.clip_grad_norm_(group, self._clip_norm)
                optimiser.step()
        self._steps += 1
        for optimiser in self._optimisers:
            optimiser.zero_grad()

    def end_epoch(self) -> None:
        """Lower the learning rates."""
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] *= self._decay

    def state_dict(self) -> dict[str, Any]:
        """Both optimisers and whose turn it is."""
        return {
            "steps": self._steps,
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._steps = state["steps"]
        for optimiser, own in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(own)


class SeparateUpdates:
    """Adam as if every slice along the parameters' first dimension were trained alone.

    Slice e of all parameters together is one expert (or one speaker's LoRA). Each has its own gradient
    clipping, moments and step count; one that is absent from a batch does not move at all, where a
    plain Adam would move it on by momentum. Formulas: Kingma and Ba 2015, algorithm 1.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        *,
        learning_rate: float,
        clip_norm: float,
        decay: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self._parameters = list(parameters)
        slices = {len(parameter) for parameter in self._parameters}
        if len(slices) != 1:
            raise ValueError(f"parameters must agree in their first dimension, the experts: {sorted(slices)}")
        self._rate, self._clip_norm, self._betas, self._epsilon = learning_rate, clip_norm, betas, epsilon
        self._decay = decay
        self._steps = torch.zeros(slices.pop(), device=self._parameters[0].device)
        self._first = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._second = [torch.zeros_like(parameter) for parameter in self._parameters]

    @torch.no_grad()
    def step(self, groups: Tensor) -> None:
        """One step of the experts that occur in `groups` `(batch,)`."""
        active = torch.zeros_like(self._steps)
        active[groups.unique()] = 1.0
        self._steps += active
        clip = self._clipping()
        beta1, beta2 = self._betas
        correction1 = 1 - beta1 ** self._steps.clamp(min=1)
        correction2 = 1 - beta2 ** self._steps.clamp(min=1)
        for parameter, first, second in zip(self._parameters, self._first, self._second, strict=True):
            assert parameter.grad is not None
            shape = (-1, *[1] * (parameter.dim() - 1))
            here = active.view(shape)
            gradient = parameter.grad * clip.view(shape)
            first.lerp_(gradient, (1 - beta1) * here)
            second.lerp_(gradient.square(), (1 - beta2) * here)
            denominator = (second / correction2.view(shape)).sqrt() + self._epsilon
            parameter.sub_(self._rates(here) * (first / correction1.view(shape)) / denominator)
            parameter.grad = None

    def _rates(self, here: Tensor) -> Tensor:
        """The learning rate of each slice, 0 where it is absent; `here` is 1 or 0, `(slices, 1, ...)`."""
        return here * self._rate

    def _clipping(self) -> Tensor:
        """The factor `(experts,)` that brings each expert's gradient norm to `clip_norm` at most."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        squares = torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).sum(0)
        # torch.nn.utils.clip_grad_norm_ divides in the same way.
        return (self._clip_norm / (squares.sqrt() + 1e-6)).clamp(max=1.0)

    def end_epoch(self) -> None:
        """Lower the learning rate."""
        self._rate *= self._decay

    def state_dict(self) -> dict[str, Any]:
        """Learning rate, step counts and moments."""
        return {"rate": self._rate, "steps": self._steps, "first": self._first, "second": self._second}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._rate = state["rate"]
        self._steps.copy_(state["steps"])
        for own, other in zip(
            [*self._first, *self._second], [*state["first"], *state["second"]], strict=True
        ):
            own.copy_(other)
