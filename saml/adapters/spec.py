"""What is put into a recogniser: the specification of an arm's adapters."""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """The shape and rules of an adapter.

    `feed_forward_experts` 0 leaves the feed-forward linears alone. `decoder_routing` is "encoder" or "input",
    `routes_from` "router" or "table", see `AdaptedRecogniser`; `shared` is what experts have in common, see
    `MixtureLinear`.
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
    shared: str = "nothing"
    routes_from: str = "router"

    def as_dict(self) -> dict[str, Any]:
        """The specification as JSON-ready values."""
        return asdict(self)

    def one_expert(self) -> "AdapterSpec":
        """One LoRA without a router, as each expert is initialised: as an adapter of its own."""
        return replace(self, experts=1, routed=False, shared="nothing", routes_from="router")

    def experts_only(self) -> "AdapterSpec":
        """The attention experts alone, without router and feed-forward LoRA: what initialisation leaves."""
        return replace(self, feed_forward_experts=0, routed=False, routes_from="router")
