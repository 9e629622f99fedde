"""A recogniser with adapters in it: where they go, which row uses which, which parameters are theirs."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saml.adapters.layer import MixtureLinear
from saml.adapters.routing import Routing
from saml.adapters.rows import Rows
from saml.adapters.sites import FEED_FORWARD, find_sites
from saml.adapters.spec import AdapterSpec
from saml.models.recogniser import Encoded, Recogniser, as_module, replace_module
from saml.runtime.errors import SamlError

# The name of a table of routes among the parameters.
TABLE = "routers.table.logits"

State = dict[str, Tensor]


class AdaptedRecogniser:
    """Wraps a recogniser and has its methods, with `adapters` independent adapters over the one frozen base.

    Every adapter and router parameter has the adapters as first dimension. Before a batch is encoded,
    `assign` gives the adapter index of its rows; a single adapter needs no assignment. Encoding, routing,
    training and search then use each row's own adapter. `Routing` says how experts are weighted.
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
        self._routing = Routing(base, spec, self.rows, speakers=speakers)
        as_module(base).requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = self._inject()
            if spec.routed and spec.experts > 1:
                self._routing.make_routers()
        self.routers = self._routing.routers
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
        self.rows.assign(adapters, self._device)
        self._routing.assign(tokens, speakers, self._device)

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
        self._routing.before_encoder(len(features), self.base.frame_mask(lengths))
        encoded = self.base.encode(features, lengths)
        self._routing.after_encoder(encoded)
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
        self._routing.fix(weights)

    @property
    def routed_by_input(self) -> bool:
        """Whether the decoder's routes depend on its input tokens."""
        return self._routing.by_input

    def routes(self) -> dict[str, Tensor]:
        """The weights `(batch, experts)` used last, by attention module (encoder) or kind (decoder).

        A decoder that is routed by its input has routes by attention module too, from when it runs.
        """
        return self._routing.used()

    def _choose(self, rows: Tensor | None) -> None:
        """The decoder runs next on `rows` `(chosen,)` of the batch; None: on all."""
        if self._assigned and (rows is not None or self._routing.chosen is not None):
            own = range(len(self._assigned)) if rows is None else rows.tolist()
            self.rows.assign([self._assigned[row] for row in own], self._device)
        self._routing.choose(rows)

    # ---- injection --------------------------------------------------------------------------

    def _inject(self) -> nn.ModuleDict:
        layers: dict[str, MixtureLinear] = {}
        for kind, name, linear in find_sites(self.base, self.sites):
            experts = self.spec.feed_forward_experts if kind == FEED_FORWARD else self.spec.experts
            if experts == 0:
                continue
            layer = MixtureLinear(
                linear,
                self._routing.route_of(kind, name),
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
