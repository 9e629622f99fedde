"""A recogniser with adapters and routers for every member of a crowd."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saml.adapters.adapted import AdaptedRecogniser, AdapterSpec, fill
from saml.adapters.layer import MixtureLinear, Route
from saml.crowd.layers import CrowdLinear, crowd_router
from saml.crowd.rows import Rows
from saml.models.recogniser import Recogniser


class CrowdRecogniser(AdaptedRecogniser):
    """An `AdaptedRecogniser` whose every adapter and router parameter has the members in front.

    Before a batch is encoded, `assign` says whose its rows are; until the next it is computed, routed and
    searched with these members' parameters. All members start as one adapted alone does with the same seed.
    """

    def __init__(self, base: Recogniser, spec: AdapterSpec, *, members: int, seed: int) -> None:
        self.members = members
        self.rows = Rows()
        self._tokens: Tensor | None = None
        self._assigned: list[int] = []
        super().__init__(base, spec, seed=seed)

    def assign(self, members: Sequence[int], tokens: Tensor | None = None) -> None:
        """Row i of the batches to come belongs to `members[i]`.

        `tokens` `(rows,)` counts what each row would be padded to among its own member's rows alone: routers
        that look at the decoder's input, padding included, look no further.
        """
        self._assigned = list(members)
        self.rows.set(members, self._device)
        self._tokens = None if tokens is None else tokens.to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.expert_parameters().values())).device

    def state_of(self, member: int) -> dict[str, Tensor]:
        """What is saved of one member: as the state of one adapted alone."""
        return {
            name: parameter.detach()[member].cpu().clone().contiguous()
            for name, parameter in self._parameters()
        }

    def load_state_of(self, member: int, state: dict[str, Tensor]) -> None:
        """Take over a state made by `state_of`, or of one adapted alone.

        Raises SamlError naming a tensor that is missing, left over or of another shape.
        """
        fill({name: parameter.data[member] for name, parameter in self._parameters()}, state)

    def _layer(self, linear: nn.Linear, route: Route, experts: int) -> MixtureLinear:
        return CrowdLinear(
            linear, route, members=self.members, rows=self.rows, experts=experts, **self._layer_options()
        )

    def _router(self, kind: str) -> nn.Module:
        return crowd_router(super()._router(kind), self.members, self.rows)

    def _choose(self, rows: Tensor | None) -> None:
        if rows is not None or self._chosen is not None:
            own = range(len(self._assigned)) if rows is None else rows.tolist()
            self.rows.set([self._assigned[row] for row in own], self._device)
        super()._choose(rows)

    def _decoder_mask(self, states: Tensor) -> Tensor:
        every = super()._decoder_mask(states)
        if self._tokens is None:
            return every
        return torch.arange(states.shape[1], device=states.device) < self._tokens[:, None]
