"""What every recogniser offers, whatever its family."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Encoded:
    """Encoder states `(batch, time, dim)` and which of them are real, `(batch, time)` bool.

    `attended`, where it is given, is which of them the decoder attends to, `(batch, time)` bool; `rows`,
    where this is a selection of the batch that was encoded, is each utterance's index in it, `(batch,)`.
    """

    states: Tensor
    mask: Tensor
    attended: Tensor | None = None
    rows: Tensor | None = None

    def of(self, rows: Tensor) -> "Encoded":
        """The utterances at `rows` `(chosen,)`; one may be chosen several times."""
        attended = None if self.attended is None else self.attended[rows]
        origin = rows if self.rows is None else self.rows[rows]
        return Encoded(self.states[rows], self.mask[rows], attended, origin)


class Tokeniser(Protocol):
    """Text to token ids and back; see `saml.models.tokenisers`.

    `prompt` is the decoder's input before the text, its start token first; no loss counts what stands in it.
    `end` closes a text; `pad` is no text, and the blank of the CTC loss. A search takes none of `never`,
    and does not begin with one of `never_first`.
    """

    @property
    def prompt(self) -> tuple[int, ...]:
        """The decoder's input before the text, the start token first."""

    @property
    def end(self) -> int:
        """The token that closes a text."""

    @property
    def pad(self) -> int:
        """The token that is no text, and the blank of the CTC loss."""

    @property
    def size(self) -> int:
        """How many tokens there are: the width of the logits."""

    @property
    def never(self) -> tuple[int, ...]:
        """Tokens that a search does not take."""

    @property
    def never_first(self) -> tuple[int, ...]:
        """Tokens that a search does not begin a text with."""

    def unknown(self, text: str) -> str:
        """Those characters of a text that cannot be written in tokens."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without prompt and end."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens; those that are no text are left out."""

    def to_json(self) -> str:
        """The content of tokenizer.json, beside a model's weights."""

    def describe(self) -> dict[str, Any]:
        """What a model's description says of it: with `to_json` enough to build it again.

        It has the checksum of `to_json` under `sha256`.
        """


class Recogniser(Protocol):
    """A network with its tokeniser. Families differ behind these methods and nowhere else.

    `family` is its name in the config, `network` the module of transformers inside. `sites` says where
    adapters go: regular expressions of whole module names, by kind of routing. `positions` are parameters
    that stay as they are when the model is quantised, `computed` tensors that are computed and not stored.
    `routed_by_input` is whether a row's result depends on the padding of its decoder input: only with
    adapters whose decoder is routed by its input.
    """

    family: str
    sites: dict[str, str]
    positions: tuple[str, ...]
    computed: tuple[str, ...]
    tokeniser: Tokeniser
    network: Any

    @property
    def routed_by_input(self) -> bool:
        """See above."""

    @property
    def has_ctc(self) -> bool:
        """Whether there is a CTC head; without one `ctc_logits` raises SamlError."""

    @property
    def width(self) -> int:
        """The size of a hidden state."""

    @property
    def max_tokens(self) -> int:
        """How many tokens the decoder takes, prompt included."""

    @property
    def whole_frames(self) -> int | None:
        """Feature frames of the whole context; None where the context is the utterance."""

    def use_whole_context(self, whole: bool) -> None:
        """Encode with the whole context that the network was trained with, whatever shorter one is set.

        Whisper's is 30 s. A Conformer has no other than the utterance.
        """

    def assign(
        self, adapters: Sequence[int], tokens: Tensor | None = None, speakers: Sequence[str] = ()
    ) -> None:
        """Set the adapter of each row of the next batches; a model without adapters has nothing to set."""

    def frame_mask(self, lengths: Tensor) -> Tensor:
        """Which states are real, `(batch, time)` bool, of features with `lengths` `(batch,)` frames."""

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """Encoder states of `features` `(batch, frames, mels)` with `lengths` `(batch,)` frames."""

    def logits(self, encoded: Encoded, tokens: Tensor) -> Tensor:
        """What follows each of `tokens` `(batch, tokens)`, prompt included: `(batch, tokens, size)`."""

    def ctc_logits(self, encoded: Encoded) -> Tensor:
        """The CTC head's logits `(batch, time, size)`."""

    def generation_inputs(self, encoded: Encoded) -> dict[str, Any]:
        """What the decoder of `network` wants as arguments beside tokens."""

    def describe(self) -> dict[str, Any]:
        """What a model's description says of it, enough to build it again."""


class BaseRecogniser(Recogniser, Protocol):
    """A recogniser as it is built and stored, without adapters."""

    def fill_computed(self) -> None:
        """Compute what is neither trained nor stored: positions, and buffers that are not persistent.

        Called when a network is built, and again when it was built without values, to be loaded.
        """


def as_module(recogniser: Recogniser) -> nn.Module:
    """The recogniser as the torch module that it also is."""
    assert isinstance(recogniser, nn.Module)
    return recogniser


def replace_module(root: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place of the submodule `name` of `root`."""
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)
