"""What every recogniser offers, whatever its family."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Encoded:
    """Encoder states `(batch, time, dim)` and which of them are real, `(batch, time)` bool.

    `heard`, where it is given, is which of them the network itself attends to, `(batch, time)` bool; `rows`,
    where these are not just the batch that was encoded, is where in it each of them stood, `(batch,)`.
    """

    states: Tensor
    mask: Tensor
    heard: Tensor | None = None
    rows: Tensor | None = None

    def of(self, rows: Tensor) -> "Encoded":
        """The utterances at `rows` `(chosen,)`; one may be chosen several times."""
        heard = None if self.heard is None else self.heard[rows]
        origin = rows if self.rows is None else self.rows[rows]
        return Encoded(self.states[rows], self.mask[rows], heard, origin)


class Tokeniser(Protocol):
    """Text to token ids and back; see `saml.models.tokeniser`.

    `prompt` is the decoder's input before the text, its start token first; no loss counts what stands in it.
    `end` closes a text; `pad` is no text, and the blank of the CTC loss. A search takes none of `never`,
    and does not begin with one of `never_first`.
    """

    @property
    def prompt(self) -> tuple[int, ...]: ...
    @property
    def end(self) -> int: ...
    @property
    def pad(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def never(self) -> tuple[int, ...]: ...
    @property
    def never_first(self) -> tuple[int, ...]: ...
    def unknown(self, text: str) -> str: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def describe(self) -> dict[str, Any]: ...


class Recogniser(Protocol):
    """A network with its tokeniser. Families differ behind these methods and nowhere else.

    `has_ctc` says whether there is a CTC head; without one `ctc_logits` raises SamlError.
    """

    family: str
    sites: dict[str, str]
    positions: tuple[str, ...]
    computed: tuple[str, ...]
    tokeniser: Tokeniser
    network: Any

    @property
    def has_ctc(self) -> bool: ...
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
