"""Routing: the weights that each row of a batch gives the experts of each layer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saml.adapters.layer import Route
from saml.adapters.router import CrossRouter, Router, RouteTable
from saml.adapters.rows import Rows
from saml.adapters.sites import FEED_FORWARD
from saml.adapters.spec import AdapterSpec
from saml.models.recogniser import Encoded, Recogniser, as_module

DECODER = ("decoder_self", "cross")
ATTENTION = ("encoder_self", *DECODER)


class Routing:
    """The routes of all layers of a recogniser, and the routers or the table that set them.

    Encoder attention is routed by each layer's own input; decoder self- and cross-attention once per
    utterance from the encoder output, one route for all decoder layers: the decoder's own input would show
    a router the future while training, and only the newest token while decoding. The method was released so,
    and the specification's `decoder_routing` "input" does it for comparison: each decoder layer is routed by
    its input, targets to come and the padding after them included.

    With `routes_from` "table" there is no router: every speaker has learned weights, one route for each
    attention module of the encoder and for each kind of the decoder's.

    Attributes:
        routers: by kind of attention, or "table" alone; empty where nothing is routed.
        chosen: the rows of the batch that the decoder runs on `(chosen,)`; None: all.
    """

    def __init__(
        self, base: Recogniser, spec: AdapterSpec, rows: Rows, *, speakers: Sequence[str] = ()
    ) -> None:
        """`speakers` are those whom a table tells apart; without, one row of it serves all."""
        self.routers = nn.ModuleDict()
        self.chosen: Tensor | None = None
        self._base, self._spec, self._rows = base, spec, rows
        self._by_input = spec.decoder_routing == "input"
        self._encoder: dict[str, Route] = {}
        # By kind, or, routed by their inputs, by attention module.
        self._decoder = {} if self._by_input else {kind: Route() for kind in DECODER}
        self._decoder_kinds: dict[str, str] = {}
        self._feed_forward = Route()
        self._speakers = {speaker: index for index, speaker in enumerate(speakers)}
        # Of a batch: who speaks, which frames are real, how long the rows' tokens are, pooled encoder states.
        self._speaking: Tensor | None = None
        self._mask: Tensor | None = None
        self._tokens: Tensor | None = None
        self._pooled_encoder: Tensor | None = None
        self._fixed: Tensor | None = None

    # ---- set up -----------------------------------------------------------------------------

    def route_of(self, kind: str, name: str) -> Route:
        """The route that the linear layer `name`, of this kind of module, reads."""
        if kind == FEED_FORWARD:
            return self._feed_forward
        attention = name.rpartition(".")[0]  # q, k, v and output projection share their module's route
        if kind == "encoder_self":
            return self._encoder.setdefault(attention, Route())
        if not self._by_input:
            return self._decoder[kind]
        self._decoder_kinds[attention] = kind
        return self._decoder.setdefault(attention, Route())

    def make_routers(self) -> None:
        """Draw a router for each kind of attention, or make the table; when every layer has its route."""
        if self._spec.routes_from == "table":
            speakers = max(1, len(self._speakers))
            table = RouteTable(speakers, len(self._every_route), self._spec.experts, self._rows)
            self.routers = nn.ModuleDict({"table": table})
            return
        self.routers = nn.ModuleDict({kind: self._router(kind) for kind in ATTENTION})
        self._hook_inputs()

    def _router(self, kind: str) -> nn.Module:
        router = CrossRouter if kind == "cross" and self._by_input else Router
        return router(self._base.width, self._spec.experts, self._rows, temperature=self._spec.temperature)

    def _hook_inputs(self) -> None:
        """Have the routers see the input of attention modules before these run."""
        modules = dict(as_module(self._base).named_modules())
        for name, route in self._encoder.items():
            modules[name].register_forward_pre_hook(self._hook("encoder_self", route), with_kwargs=True)
        for name, kind in self._decoder_kinds.items():
            hook = self._hook(kind, self._decoder[name])
            modules[name].register_forward_pre_hook(hook, with_kwargs=True)

    def _hook(self, kind: str, route: Route) -> Any:
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._fixed is None:
                states = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
                route.weights, route.chosen = self._routed(kind, states), None

        return before

    # ---- a batch ----------------------------------------------------------------------------

    def assign(self, tokens: Tensor | None, speakers: Sequence[str], device: torch.device) -> None:
        """Of the batches to come: see `AdaptedRecogniser.assign`."""
        indices = [self._speakers[one] for one in speakers] if self._speakers else []
        self._speaking = torch.tensor(indices, device=device) if indices else None
        self._tokens = None if tokens is None else tokens.to(device)

    def before_encoder(self, rows: int, mask: Tensor) -> None:
        """A batch is encoded next, with so many rows and these real frames `(rows, time)`."""
        self._mask = mask
        if self._fixed is None and "table" in self.routers:
            weights = self.routers["table"](self._speaking, rows)
            for layer, route in enumerate(self._every_route.values()):
                route.weights = weights[:, layer]

    def after_encoder(self, encoded: Encoded) -> None:
        """Set the decoder's routes from encoder states; routed by input, pool what all its layers share."""
        if self._fixed is not None or not self.routers or "table" in self.routers:
            return
        if self._by_input:
            router = self.routers["cross"]
            assert isinstance(router, CrossRouter)
            self._pooled_encoder = router.pool_encoder(encoded.states, encoded.mask)
        for kind, route in self._decoder.items():
            # Routed by input, a route is set when its layer runs.
            route.weights = None if self._by_input else self.routers[kind](encoded.states, encoded.mask)

    def choose(self, rows: Tensor | None) -> None:
        """The decoder runs next on `rows` `(chosen,)` of the batch; None: on all."""
        self.chosen = rows
        for route in [*self._decoder.values(), self._feed_forward]:
            route.chosen = rows

    def fix(self, weights: Tensor | None) -> None:
        """Use `weights` `(rows, experts)` in all layers instead of the routers; None restores routing."""
        self._fixed = weights
        for route in [*self._every_route.values(), self._feed_forward]:
            route.weights = weights

    @property
    def by_input(self) -> bool:
        """Whether the decoder's routes depend on its input tokens."""
        return self._by_input and bool(self.routers) and self._fixed is None

    def used(self) -> dict[str, Tensor]:
        """The weights `(rows, experts)` used last, by attention module (encoder) or kind (decoder).

        A decoder that is routed by its input has routes by attention module too, from when it runs.
        """
        weights = {name: route.weights for name, route in self._every_route.items()}
        return {name: own.detach() for name, own in weights.items() if own is not None}

    @property
    def _every_route(self) -> dict[str, Route]:
        """All routes, by attention module (encoder) or kind (decoder)."""
        return {**self._encoder, **self._decoder}

    def _routed(self, kind: str, states: Tensor) -> Tensor:
        """The weights of one attention module from its input `(rows, time, width)`."""
        if kind == "encoder_self":
            return self.routers[kind](states, self._mask)
        mask = self._decoder_mask(states)
        if kind == "decoder_self":
            return self.routers[kind](states, mask)
        assert self._pooled_encoder is not None
        pooled = self._pooled_encoder if self.chosen is None else self._pooled_encoder[self.chosen]
        pooled = pooled.repeat_interleave(len(states) // len(pooled), dim=0)  # for beams
        return self.routers[kind](states, mask, pooled)

    def _decoder_mask(self, states: Tensor) -> Tensor:
        """The part of `(rows, tokens, width)` that an input router sees: all, padding included."""
        if self._tokens is None:
            return torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return torch.arange(states.shape[1], device=states.device) < self._tokens[:, None]
