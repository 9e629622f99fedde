"""Optimisers: AdamW with a schedule for a base model, Adam for every adapter by itself."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


class Updates(Protocol):
    """Takes a step from the gradients in place, and clears them."""

    def step(self, adapters: Tensor) -> None:
        """Update the parameters; `adapters` are the indices of those that took part in the step."""

    def end_epoch(self, adapter: int) -> None:
        """An adapter has ended an epoch: lower its learning rates, where the schedule is by epochs."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


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
        schedule: str,
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

    def step(self, adapters: Tensor) -> None:
        """One AdamW step on gradients clipped to `clip_norm`."""
        nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad()

    def end_epoch(self, adapter: int) -> None:
        """Nothing: the schedule is by steps."""

    def state_dict(self) -> dict[str, Any]:
        """Moments and schedule position."""
        return {"optimiser": self._optimiser.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])


class AdapterUpdates:
    """Adam for the routers and the experts of every adapter, on alternate steps or jointly.

    Alternating, the first step is the routers' (SAML's released code); without routers every step is the
    experts', with frozen experts every step is the routers'. Jointly (`interleaved` false) both take every
    step, so experts are updated as often as one LoRA is for the same speech. Every adapter takes part from
    the first step until it is finished, so the turn is the same for all. Its learning rates fall by `decay`
    with each of its own epochs.
    """

    def __init__(
        self,
        experts: Sequence[nn.Parameter],
        routers: Sequence[nn.Parameter],
        *,
        learning_rate: Mapping[str, float],
        clip_norm: float,
        decay: float,
        interleaved: bool,
    ) -> None:
        groups = {"router": list(routers), "expert": list(experts)}
        self._groups = [
            SeparateAdam(group, learning_rate=learning_rate[name], clip_norm=clip_norm, decay=decay)
            for name, group in groups.items()
            if group
        ]
        self._interleaved = interleaved
        self._steps = 0

    def step(self, adapters: Tensor) -> None:
        """One step of the adapters in `adapters`, of the others none. Unused gradients are dropped."""
        turn = self._steps % len(self._groups)
        for index, group in enumerate(self._groups):
            if index == turn or not self._interleaved:
                group.step(adapters)
            group.clear()
        self._steps += 1

    def end_epoch(self, adapter: int) -> None:
        """Lower the learning rates of `adapter`."""
        for group in self._groups:
            group.end_epoch(adapter)

    def state_dict(self) -> dict[str, Any]:
        """All moments and rates, and whose turn it is."""
        return {"steps": self._steps, "groups": [group.state_dict() for group in self._groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._steps = state["steps"]
        for group, own in zip(self._groups, state["groups"], strict=True):
            group.load_state_dict(own)


class SeparateAdam:
    """Adam as if every slice along the parameters' first dimension were trained alone.

    Slice i of all parameters together is one adapter. Each has its own gradient clipping, moments, step count
    and learning rate; one that is absent from a batch does not move at all, where a plain Adam would move it
    on by momentum. Formulas: Kingma and Ba 2015, algorithm 1.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        *,
        learning_rate: float,
        clip_norm: float,
        decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        """Raises ValueError where the parameters differ in their first dimension."""
        self._parameters = list(parameters)
        sizes = {len(parameter) for parameter in self._parameters}
        if len(sizes) != 1:
            raise ValueError(f"parameters must agree in their first dimension, the adapters: {sorted(sizes)}")
        self._clip_norm, self._betas, self._epsilon, self._decay = clip_norm, betas, epsilon, decay
        self._steps = torch.zeros(sizes.pop(), device=self._parameters[0].device)
        self._rates = torch.full_like(self._steps, learning_rate, dtype=torch.float64)
        self._first = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._second = [torch.zeros_like(parameter) for parameter in self._parameters]

    @torch.no_grad()
    def step(self, adapters: Tensor) -> None:
        """One step of the slices in `adapters`."""
        active = torch.zeros_like(self._steps)
        active[adapters.unique()] = 1.0
        self._steps += active
        rates = active * self._rates.to(active)
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
            parameter.sub_(rates.view(shape) * (first / correction1.view(shape)) / denominator)

    def clear(self) -> None:
        """Drop the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def end_epoch(self, adapter: int) -> None:
        """Lower the learning rate of one slice."""
        self._rates[adapter] *= self._decay

    def _clipping(self) -> Tensor:
        """The factor `(adapters,)` that brings each gradient norm to `clip_norm` at most."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        squares = torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).sum(0)
        # torch.nn.utils.clip_grad_norm_ divides in the same way.
        return (self._clip_norm / (squares.sqrt() + 1e-6)).clamp(max=1.0)

    def state_dict(self) -> dict[str, Any]:
        """Learning rates, step counts and moments."""
        return {"rates": self._rates, "steps": self._steps, "first": self._first, "second": self._second}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._rates.copy_(state["rates"])
        self._steps.copy_(state["steps"])
        for own, other in zip(
            [*self._first, *self._second], [*state["first"], *state["second"]], strict=True
        ):
            own.copy_(other)
