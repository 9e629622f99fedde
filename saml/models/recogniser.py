"""What every recogniser offers, whatever its family."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Encoded:
    """Encoder states `(batch, time, dim)` and which of them are real, `(batch, time)` bool."""

    states: Tensor
    mask: Tensor


class Tokeniser(Protocol):
    """Text to token ids and back; see `saml.models.tokeniser`."""

    @property
    def size(self) -> int: ...
    def unknown(self, text: str) -> str: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def describe(self) -> dict[str, Any]: ...


class Recogniser(Protocol):
    """A network with its tokeniser. Families differ behind these methods and nowhere else."""

    family: str
    sites: dict[str, str]
    positions: tuple[str, ...]
    computed: tuple[str, ...]
    tokeniser: Tokeniser
    network: Any

    @property
    def width(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    def frame_mask(self, lengths: Tensor) -> Tensor: ...
    def encode(self, features: Tensor, lengths: Tensor) -> Encoded: ...
    def logits(self, encoded: Encoded, tokens: Tensor) -> Tensor: ...
    def ctc_logits(self, encoded: Encoded) -> Tensor: ...
    def generation_inputs(self, encoded: Encoded) -> dict[str, Any]: ...
    def describe(self) -> dict[str, Any]: ...


def as_module(recogniser: Recogniser) -> nn.Module:
    """The recogniser as the torch module that it also is."""
    assert isinstance(recogniser, nn.Module)
    return recogniser
