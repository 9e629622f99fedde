"""A recogniser with adapters in it: where they go, how they are routed, which parameters are theirs."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saml.adapters.layer import MixtureLinear, Route
from saml.adapters.router import CrossRouter, Router, RouteTable
from saml.adapters.rows import Rows
from saml.adapters.sites import FEED_FORWARD, find_sites
from saml.adapters.spec import AdapterSpec
from saml.models.recogniser import Encoded, Recogniser, as_module, replace_module
from saml.runtime.errors import SamlError

DECODER = ("decoder_self", "cross")
ATTENTION = ("encoder_self", *DECODER)

# The name of a table of routes among the parameters.
TABLE = "routers.table.logits"

State = dict[str, Tensor]


class AdaptedRecogniser:
    """Wraps a recogniser and has its methods, with `adapters` independent adapters over the one frozen base.

    Every adapter and router parameter has the adapters as first dimension. Before a batch is encoded,
    `assign` gives the adapter index of its rows; a single adapter needs no assignment. Encoding, routing,
    training and search then use each row's own adapter.

    Encoder attention is routed by each layer's own input; decoder self- and cross-attention once per
    utterance from the encoder output, one route for all decoder layers: the decoder's own input would show
    a router the future while training, and only the newest token while decoding. The method was released so,
    and the specification's `decoder_routing` "input" does it for comparison: each decoder layer is routed by
    its input, targets to come and the padding after them included.

    With `routes_from` "table" there is no router: every speaker has learned weights, one route for each
    attention module of the encoder and for each kind of the decoder's.
    """

    def __init__(
        self,
        base: Recogniser,
        spec: AdapterSpec,
        *,
        seed: int,
        adapters: int = 1,
        independent: bool = False,
        speakers: Sequence[str] = (),
    ) -> None:
        """Inject fresh adapters into `base`.

        Args:
            base: its parameters are frozen from now on.
            spec: what is put in.
            seed: decides the initial parameters.
            adapters: how many adapters.
            independent: whether each adapter draws its own A; otherwise all start alike, as one alone does.
            speakers: whom the table of routes tells apart, as in pre-training; without, one row serves all.

        Raises:
            SamlError: a pattern of `sites` matches no linear layer.
        """
        self.base = base
        self.spec = spec
        self.family, self.tokeniser, self.network = base.family, base.tokeniser, base.network
        self.sites, self.positions, self.computed = base.sites, base.positions, base.computed
        self.width, self.max_tokens, self.has_ctc = base.width, base.max_tokens, base.has_ctc
        self.rows = Rows(adapters)
        self._independent = independent
        self._assigned: list[int] = []
        self._tokens: Tensor | None = None
        self._mask: Tensor | None = None
        self._fixed: Tensor | None = None
        self._encoder_routes: dict[str, Route] = {}
        self._by_input = spec.decoder_routing == "input"
        # By kind, or, routed by their inputs, by attention module.
        self._decoder_routes = {} if self._by_input else {kind: Route() for kind in DECODER}
        self._decoder_kinds: dict[str, str] = {}
        self._pooled_encoder: Tensor | None = None
        self._chosen: Tensor | None = None
        self._feed_forward_route = Route()
        self._speakers = {speaker: index for index, speaker in enumerate(speakers)}
        self._speaking: Tensor | None = None
        as_module(base).requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = self._inject()
            self.routers = self._make_routers() if spec.routed and spec.experts > 1 else nn.ModuleDict()
        self._hook_inputs()
        self.eval()

    # ---- adapters of a batch ----------------------------------------------------------------

    @property
    def adapters(self) -> int:
        """How many adapters there are."""
        return self.rows.adapters

    def assign(
        self, adapters: Sequence[int], tokens: Tensor | None = None, speakers: Sequence[str] = ()
    ) -> None:
        """Row i of the batches to come uses `adapters[i]`.

        `tokens` `(rows,)` counts how long each row would be padded among the rows of its own adapter: routers
        that see the decoder's input, padding included, look no further. `speakers` are who speaks in each
        row, for a table of several speakers.
        """
        self._assigned = list(adapters)
        indices = [self._speakers[one] for one in speakers] if self._speakers else []
        self._speaking = torch.tensor(indices, device=self._device) if indices else None
        self.rows.assign(adapters, self._device)
        self._tokens = None if tokens is None else tokens.to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.expert_parameters().values())).device

    # ---- what a recogniser offers -------------------------------------------------------------

    @property
    def whole_frames(self) -> int | None:
        """The base's; see `Recogniser`."""
        return self.base.whole_frames

    def use_whole_context(self, whole: bool) -> None:
        """The base's context; see `Recogniser`."""
        self.base.use_whole_context(whole)

    def frame_mask(self, lengths: Tensor) -> Tensor:
        """Which encoder frames are real; see `Recogniser`."""
        return self.base.frame_mask(lengths)

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """Encode and route: afterwards the decoder's routes are those of this batch."""
        self._choose(None)
        self._mask = self.base.frame_mask(lengths)
        self._route_from_table(len(features))
        encoded = self.base.encode(features, lengths)
        self._route_decoder(encoded)
        return encoded

    def logits(self, encoded: Encoded, tokens: Tensor) -> Tensor:
        """Teacher-forced logits for the batch that was encoded last, or for rows of it."""
        self._choose(encoded.rows)
        return self.base.logits(encoded, tokens)

    def ctc_logits(self, encoded: Encoded) -> Tensor:
        """CTC logits; see `Recogniser`."""
        return self.base.ctc_logits(encoded)

    def generation_inputs(self, encoded: Encoded) -> dict[str, Any]:
        """The decoder's inputs in place of features, for the batch encoded last, or for rows of it."""
        self._choose(encoded.rows)
        return self.base.generation_inputs(encoded)

    def describe(self) -> dict[str, Any]:
        """The description of the base."""
        return self.base.describe()

    # ---- routing ----------------------------------------------------------------------------

    def fix_routes(self, weights: Tensor | None) -> None:
        """Use `weights` `(batch, experts)` in all layers instead of the routers; None restores routing."""
        self._fixed = weights
        for route in [
            *self._encoder_routes.values(),
            *self._decoder_routes.values(),
            self._feed_forward_route,
        ]:
            route.weights = weights

    @property
    def routed_by_input(self) -> bool:
        """Whether the decoder's routes depend on its input tokens."""
        return self._by_input and bool(self.routers) and self._fixed is None

    @property
    def _every_route(self) -> dict[str, Route]:
        """All routes, by attention module (encoder) or kind (decoder)."""
        return {**self._encoder_routes, **self._decoder_routes}

    def routes(self) -> dict[str, Tensor]:
        """The weights `(batch, experts)` used last, by attention module (encoder) or kind (decoder).

        A decoder that is routed by its input has routes by attention module too, from when it runs.
        """
        used = {name: route.weights for name, route in self._every_route.items()}
        return {name: weights.detach() for name, weights in used.items() if weights is not None}

    def _route_from_table(self, rows: int) -> None:
        """Set all routes of a batch where they are in a table."""
        if self._fixed is None and "table" in self.routers:
            weights = self.routers["table"](self._speaking, rows)
            for layer, route in enumerate(self._every_route.values()):
                route.weights = weights[:, layer]

    def _route_decoder(self, encoded: Encoded) -> None:
        """Set the decoder's routes from encoder states; routed by input, pool what all its layers share."""
        if self._fixed is not None or not self.routers or "table" in self.routers:
            return
        if self._by_input:
            router = self.routers["cross"]
            assert isinstance(router, CrossRouter)
            self._pooled_encoder = router.pool_encoder(encoded.states, encoded.mask)
        for kind, route in self._decoder_routes.items():
            # Routed by input, a route is set when its layer runs.
            route.weights = None if self._by_input else self.routers[kind](encoded.states, encoded.mask)

    def _choose(self, rows: Tensor | None) -> None:
        """The decoder runs next on `rows` `(chosen,)` of the batch; None: on all."""
        if self._assigned and (rows is not None or self._chosen is not None):
            own = range(len(self._assigned)) if rows is None else rows.tolist()
            self.rows.assign([self._assigned[row] for row in own], self._device)
        self._chosen = rows
        for route in [*self._decoder_routes.values(), self._feed_forward_route]:
            route.chosen = rows

    def _make_routers(self) -> nn.ModuleDict:
        """A router for each kind of attention, or the table that all of them have in place of it."""
        if self.spec.routes_from == "table":
            layers = len(self._every_route)
            table = RouteTable(max(1, len(self._speakers)), layers, self.spec.experts, self.rows)
            return nn.ModuleDict({"table": table})
        return nn.ModuleDict({kind: self._router(kind) for kind in ATTENTION})

    def _router(self, kind: str) -> nn.Module:
        router = CrossRouter if kind == "cross" and self._by_input else Router
        return router(self.base.width, self.spec.experts, self.rows, temperature=self.spec.temperature)

    def _hook_inputs(self) -> None:
        """Have the routers see the input of attention modules before these run."""
        if not self.routers or "table" in self.routers:
            return
        modules = dict(as_module(self.base).named_modules())
        for name, route in self._encoder_routes.items():
            modules[name].register_forward_pre_hook(self._hook("encoder_self", route), with_kwargs=True)
        for name, kind in self._decoder_kinds.items():
            hook = self._hook(kind, self._decoder_routes[name])
            modules[name].register_forward_pre_hook(hook, with_kwargs=True)

    def _hook(self, kind: str, route: Route) -> Any:
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._fixed is None:
                states = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
                route.weights, route.chosen = self._routed(kind, states), None

        return before

    def _routed(self, kind: str, states: Tensor) -> Tensor:
        """The weights of one attention module from its input `(rows, time, width)`."""
        if kind == "encoder_self":
            return self.routers[kind](states, self._mask)
        mask = self._decoder_mask(states)
        if kind == "decoder_self":
            return self.routers[kind](states, mask)
        assert self._pooled_encoder is not None
        pooled = self._pooled_encoder if self._chosen is None else self._pooled_encoder[self._chosen]
        pooled = pooled.repeat_interleave(len(states) // len(pooled), dim=0)  # for beams
        return self.routers[kind](states, mask, pooled)

    def _decoder_mask(self, states: Tensor) -> Tensor:
        """The part of `(batch, tokens, width)` that an input router sees: all, padding included."""
        if self._tokens is None:
            return torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return torch.arange(states.shape[1], device=states.device) < self._tokens[:, None]

    # ---- injection --------------------------------------------------------------------------

    def _inject(self) -> nn.ModuleDict:
        layers: dict[str, MixtureLinear] = {}
        for kind, name, linear in find_sites(self.base, self.sites):
            experts = self.spec.feed_forward_experts if kind == FEED_FORWARD else self.spec.experts
            if experts == 0:
                continue
            layer = MixtureLinear(
                linear,
                self._route(kind, name),
                self.rows,
                experts=experts,
                rank=self.spec.rank,
                alpha=self.spec.alpha,
                dropout=self.spec.dropout,
                mixing=self.spec.mixing,
                shared="nothing" if kind == FEED_FORWARD else self.spec.shared,
                independent=self._independent,
            )
            replace_module(as_module(self.base), name, layer)
            layers[name] = layer
        return nn.ModuleDict({name.replace(".", "/"): layer for name, layer in layers.items()})

    def _route(self, kind: str, name: str) -> Route:
        if kind == FEED_FORWARD:
            return self._feed_forward_route
        attention = name.rpartition(".")[0]  # q, k, v and output projection share their module's route
        if kind == "encoder_self":
            return self._encoder_routes.setdefault(attention, Route())
        if not self._by_input:
            return self._decoder_routes[kind]
        self._decoder_kinds[attention] = kind
        return self._decoder_routes.setdefault(attention, Route())

    # ---- parameters and state -----------------------------------------------------------------

    def expert_parameters(self) -> dict[str, nn.Parameter]:
        """Experts and LoRAs by full name, `(adapters, experts, ...)`; shared ones, `(adapters, 1, ...)`."""
        return {
            f"{name.replace('/', '.')}.{own}": parameter
            for name, layer in self.layers.items()
            for own, parameter in _mixture(layer).adapter_parameters().items()
        }

    def attention_parameters(self) -> list[str]:
        """The names of the `expert_parameters` of attention, where a mixture has its experts."""
        feed_forward = self.sites.get(FEED_FORWARD, "")
        return [
            name
            for name in self.expert_parameters()
            if not re.fullmatch(feed_forward, name.rpartition(".")[0])
        ]

    def router_parameters(self) -> dict[str, nn.Parameter]:
        """The routers' parameters by full name, each `(adapters, ...)`; empty where nothing is routed."""
        return {f"routers.{name}": parameter for name, parameter in self.routers.named_parameters()}

    def state(self, adapter: int = 0) -> State:
        """What is saved of one adapter: copies of its experts, LoRAs and routers, on the CPU."""
        return {name: p.detach()[adapter].cpu().clone().contiguous() for name, p in self._parameters()}

    def state_for_anyone(self) -> State:
        """The state of a single adapter, with a table's rows of several speakers replaced by their mean."""
        state = self.state()
        if TABLE in state:
            state[TABLE] = state[TABLE].mean(0, keepdim=True)
        return state

    def load_state(self, state: State, adapter: int = 0) -> None:
        """Set one adapter to a state made by `state`.

        Raises SamlError naming a tensor that is missing, left over or of another shape.
        """
        _fill({name: parameter.data[adapter] for name, parameter in self._parameters()}, state)

    def full_state(self) -> State:
        """Copies of the parameters of all adapters, each `(adapters, ...)`, on the CPU: for a checkpoint."""
        return {name: p.detach().cpu().clone().contiguous() for name, p in self._parameters()}

    def load_full_state(self, state: State) -> None:
        """Set all adapters to a state made by `full_state`; raises SamlError as `load_state` does."""
        _fill({name: parameter.data for name, parameter in self._parameters()}, state)

    def to(self, device: torch.device) -> None:
        """Move everything to `device`."""
        as_module(self.base).to(device)
        self.routers.to(device)

    def train(self) -> None:
        """Dropout of the adapters on. The base stays in evaluation mode: it is frozen, and the running
        statistics of its batch normalisation would otherwise move without being saved.
        """
        self._mode(training=True)

    def eval(self) -> None:
        """Everything in evaluation mode."""
        self._mode(training=False)

    def _mode(self, *, training: bool) -> None:
        as_module(self.base).eval()
        self.routers.train(training)
        for layer in self.layers.values():
            _mixture(layer).dropout.train(training)

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.expert_parameters().items()
        yield from self.router_parameters().items()


def _fill(own: State, state: State) -> None:
    """Copy the tensors of `state` into those of the same names; raises SamlError where they do not fit."""
    for name in sorted(own.keys() ^ state.keys()):
        raise SamlError(
            f"adapter does not fit: tensor {name!r} is {'missing' if name in own else 'left over'}"
        )
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            shapes = f"{tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            raise SamlError(f"adapter does not fit: tensor {name!r} has shape {shapes}")
        tensor.copy_(state[name])


def _mixture(layer: nn.Module) -> MixtureLinear:
    assert isinstance(layer, MixtureLinear)
    return layer
