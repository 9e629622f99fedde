"""A recogniser with adapters in it: where they go, who routes them, which parameters are theirs."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from saml.adapters.layer import MixtureLinear, Route
from saml.adapters.router import CrossRouter, Router
from saml.models.recogniser import Encoded, Recogniser, as_module
from saml.runtime.errors import SamlError

DECODER = ("decoder_self", "cross")
ATTENTION = ("encoder_self", *DECODER)
FEED_FORWARD = "feed_forward"


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """What is put into a recogniser. `feed_forward_experts` 0 leaves the feed-forward linears alone.

    `decoder_routing` is "encoder" or "input", see `AdaptedRecogniser`.
    """

    experts: int
    feed_forward_experts: int
    rank: int
    alpha: float
    dropout: float
    mixing: str = "merge"
    routed: bool = False
    temperature: float = 1.0
    decoder_routing: str = "encoder"

    def as_dict(self) -> dict[str, Any]:
        """The specification as JSON-ready values."""
        return asdict(self)

    def for_initialisation(self) -> "AdapterSpec":
        """One LoRA per expert everywhere, feed-forward included, told apart by one-hot routes (no router)."""
        experts = self.experts if self.feed_forward_experts else 0
        return replace(self, feed_forward_experts=experts, routed=False)


def adapter_spec(arm: dict[str, Any], adapters: dict[str, Any]) -> AdapterSpec:
    """The specification of an arm: entries of the arm go before those of the `adapters` section."""
    chosen = {**adapters, **arm}
    return AdapterSpec(
        experts=chosen["experts"],
        feed_forward_experts=1 if chosen["feed_forward"] else 0,
        rank=chosen["rank"],
        alpha=chosen["alpha"],
        dropout=chosen["dropout"],
        mixing=chosen["mixing"],
        routed=bool(chosen.get("routed", False)),
        temperature=chosen["temperature"],
        decoder_routing=chosen.get("decoder_routing", "encoder"),
    )


class AdaptedRecogniser:
    """Wraps a recogniser and has its methods; what is trained and saved is in `layers` and `routers`.

    Encoder attention is routed by each layer's own input; decoder self- and cross-attention once per
    utterance from the encoder output, one route for all decoder layers: the decoder's own input would show
    a router the future while training, and only the newest token while decoding. The method was released so,
    and the specification's `decoder_routing` "input" does it for comparison: each decoder layer is routed by
    whatever it is given, targets to come and the padding after them included.

    The base's parameters are frozen. Raises SamlError when a pattern of `sites` matches no linear layer.
    """

    def __init__(self, base: Recogniser, spec: AdapterSpec, *, seed: int) -> None:
        self.base = base
        self.spec = spec
        self.family, self.tokeniser, self.network = base.family, base.tokeniser, base.network
        self.sites, self.positions, self.computed = base.sites, base.positions, base.computed
        self.width, self.max_tokens, self.has_ctc = base.width, base.max_tokens, base.has_ctc
        self._mask: Tensor | None = None
        self._fixed: Tensor | None = None
        self._encoder_routes: dict[str, Route] = {}
        self._by_input = spec.decoder_routing == "input"
        # By kind, or, routed by their inputs, by attention module.
        self._decoder_routes = {} if self._by_input else {kind: Route() for kind in DECODER}
        self._decoder_kinds: dict[str, str] = {}
        self._heard: Tensor | None = None
        self._chosen: Tensor | None = None
        self._feed_forward_route = Route()
        as_module(base).requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = self._inject()
            routed = spec.routed and spec.experts > 1
            self.routers = nn.ModuleDict({kind: self._router(kind) for kind in (ATTENTION if routed else ())})
        self._hook_inputs()
        self.eval()

    # ---- what a recogniser offers -------------------------------------------------------------

    def frame_mask(self, lengths: Tensor) -> Tensor:
        """Which encoder frames are real; see `Recogniser`."""
        return self.base.frame_mask(lengths)

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """Encode and route: afterwards the decoder's routes stand for this batch."""
        self._choose(None)
        self._mask = self.base.frame_mask(lengths)
        encoded = self.base.encode(features, lengths)
        self.route_decoder(encoded)
        return encoded

    def logits(self, encoded: Encoded, tokens: Tensor) -> Tensor:
        """Teacher-forced logits for the batch that was encoded last, or for rows of it."""
        self._choose(encoded.rows)
        return self.base.logits(encoded, tokens)

    def ctc_logits(self, encoded: Encoded) -> Tensor:
        """CTC logits; see `Recogniser`."""
        return self.base.ctc_logits(encoded)

    def generation_inputs(self, encoded: Encoded) -> dict[str, Any]:
        """What the decoder gets in place of features, for the batch encoded last, or for rows of it."""
        self._choose(encoded.rows)
        return self.base.generation_inputs(encoded)

    def describe(self) -> dict[str, Any]:
        """The description of the base."""
        return self.base.describe()

    # ---- routing ----------------------------------------------------------------------------

    def fix_routes(self, weights: Tensor | None) -> None:
        """Use `weights` `(batch, experts)` in all layers instead of the routers; None gives routing back.

        One-hot rows make every utterance its expert's own: E separate LoRAs in one batch.
        """
        self._fixed = weights
        for route in [
            *self._encoder_routes.values(),
            *self._decoder_routes.values(),
            self._feed_forward_route,
        ]:
            route.weights = weights

    def route_decoder(self, encoded: Encoded) -> None:
        """Set the decoder's routes from encoder states, once per utterance; by input, what they share."""
        if self._fixed is not None or not self.routers:
            return
        if self._by_input:
            self._heard = _cross(self.routers["cross"]).hear(encoded.states, encoded.mask)
        for kind, route in self._decoder_routes.items():
            # By input, a route stands from when its layer runs.
            route.weights = None if self._by_input else self.routers[kind](encoded.states, encoded.mask)

    @property
    def routed_by_input(self) -> bool:
        """Whether the decoder's routes depend on the tokens it is given."""
        return self._by_input and bool(self.routers) and self._fixed is None

    def _choose(self, rows: Tensor | None) -> None:
        """The decoder is run next on `rows` `(chosen,)` of the batch; None: on all."""
        self._chosen = rows
        for route in [*self._decoder_routes.values(), self._feed_forward_route]:
            route.chosen = rows

    def routes(self) -> dict[str, Tensor]:
        """The weights `(batch, experts)` used last, by attention module (encoder) or kind (decoder).

        A decoder that is routed by its input has routes by attention module too, from when it runs.
        """
        every = {**self._encoder_routes, **self._decoder_routes}
        return {name: route.weights.detach() for name, route in every.items() if route.weights is not None}

    def _router(self, kind: str) -> nn.Module:
        router = CrossRouter if kind == "cross" and self._by_input else Router
        return router(self.base.width, self.spec.experts, temperature=self.spec.temperature)

    def _hook_inputs(self) -> None:
        """Have the routers see what attention modules are given, before these run."""
        if not self.routers:
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
                route.weights, route.chosen = self._routed_by_input(kind, states), None

        return before

    def _routed_by_input(self, kind: str, states: Tensor) -> Tensor:
        if kind == "encoder_self":
            return self.routers[kind](states, self._mask)
        every = self._decoder_mask(states)
        if kind == "decoder_self":
            return self.routers[kind](states, every)
        assert self._heard is not None
        heard = self._heard if self._chosen is None else self._heard[self._chosen]
        heard = heard.repeat_interleave(len(states) // len(heard), dim=0)  # for beams
        return self.routers[kind](states, every, heard)

    def _decoder_mask(self, states: Tensor) -> Tensor:
        """What a decoder's router sees of `(batch, tokens, width)` where it is given it: all, padding too."""
        return torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)

    # ---- injection --------------------------------------------------------------------------

    def _inject(self) -> nn.ModuleDict:
        layers: dict[str, MixtureLinear] = {}
        for kind, name, linear in find_sites(self.base, self.sites):
            experts = self.spec.feed_forward_experts if kind == FEED_FORWARD else self.spec.experts
            if experts == 0:
                continue
            layer = self._layer(linear, self._route(kind, name), experts)
            _replace(as_module(self.base), name, layer)
            layers[name] = layer
        return nn.ModuleDict({name.replace(".", "/"): layer for name, layer in layers.items()})

    def _layer(self, linear: nn.Linear, route: Route, experts: int) -> MixtureLinear:
        """A layer in the place of `linear`."""
        return MixtureLinear(linear, route, experts=experts, **self._layer_options())

    def _layer_options(self) -> dict[str, Any]:
        """What all layers have alike."""
        return {name: getattr(self.spec, name) for name in ("rank", "alpha", "dropout", "mixing")}

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
        """Experts and LoRAs by full name; each has its experts as first dimension."""
        return {
            f"{name.replace('/', '.')}.{own}": parameter
            for name, layer in self.layers.items()
            for own, parameter in _mixture(layer).adapter_parameters().items()
        }

    def router_parameters(self) -> dict[str, nn.Parameter]:
        """The routers' parameters by full name; empty where nothing is routed."""
        return {f"routers.{name}": parameter for name, parameter in self.routers.named_parameters()}

    def state(self) -> dict[str, Tensor]:
        """Everything that is saved: copies of experts, LoRAs and routers, on the CPU."""
        return {name: p.detach().cpu().clone().contiguous() for name, p in self._parameters()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a state made by `state`.

        Raises SamlError naming a tensor that is missing, left over or of another shape.
        """
        fill({name: parameter.data for name, parameter in self._parameters()}, state)

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


def find_sites(recogniser: Recogniser, sites: dict[str, str]) -> list[tuple[str, str, nn.Linear]]:
    """All (kind, module name, linear) that the patterns in `sites` (kind to regular expression) match.

    Raises SamlError for a pattern that matches no linear layer: a silent miss would train nothing there.
    """
    found = []
    for kind, pattern in sites.items():
        matching = [
            (kind, name, module)
            for name, module in as_module(recogniser).named_modules()
            if re.fullmatch(pattern, name) and isinstance(module, nn.Linear)
        ]
        if not matching:
            raise SamlError(
                f"adapters: the {kind} pattern {pattern!r} matches no linear layer of the recogniser"
            )
        found += matching
    return found


def fill(own: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """Copy the tensors of `state` into those of the same names.

    Raises SamlError naming a tensor that is missing, left over or of another shape.
    """
    for name in sorted(own.keys() ^ state.keys()):
        raise SamlError(
            f"adapter does not fit: tensor {name!r} is {'missing' if name in own else 'left over'}"
        )
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            shapes = f"{tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            raise SamlError(f"adapter does not fit: tensor {name!r} has shape {shapes}")
        tensor.copy_(state[name])


def _replace(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)


def _mixture(layer: nn.Module) -> MixtureLinear:
    assert isinstance(layer, MixtureLinear)
    return layer


def _cross(router: nn.Module) -> CrossRouter:
    assert isinstance(router, CrossRouter)
    return router
