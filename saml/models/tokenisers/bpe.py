"""Whisper's own tokens: byte-level BPE, by the `tokenizers` library."""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from saml.runtime.errors import SamlError

START, END, NO_TIMESTAMPS = "<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>"
LANGUAGE, TASK = "<|en|>", "<|transcribe|>"


@dataclass(frozen=True)
class Vocabulary:
    """What the files of a checkpoint say: tokens in the order of their ids, merges, ids of special tokens."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    special: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How a network uses its vocabulary.

    Attributes:
        size: token ids that the network has; some may have no name (old files leave out the timestamps).
        multilingual: whether the prompt names language and task.
        lower: whether text is lower-cased before it becomes tokens.
        never, never_first: tokens that decoding suppresses always, and at the start, special ones apart.
    """

    size: int
    multilingual: bool
    lower: bool = True
    never: Sequence[int] = field(default=())
    never_first: Sequence[int] = field(default=())


class BpeTokeniser:
    """Bytes merged into tokens. A text has one space before it, as every word of Whisper's training had.

    The special tokens of Whisper are no tokens of any text: `encode` never gives one, `decode` leaves them
    out, and a search may only take the one that ends a text.
    """

    def __init__(self, vocabulary: Vocabulary, manners: Manners) -> None:
        self._vocabulary, self._manners = vocabulary, manners
        lacking = set(pre_tokenizers.ByteLevel.alphabet()) - set(vocabulary.tokens)
        if lacking:  # their bytes would vanish from texts without a word
            raise SamlError(f"a BPE vocabulary without tokens for {len(lacking)} of the 256 bytes")
        names = (START, LANGUAGE, TASK, NO_TIMESTAMPS) if manners.multilingual else (START, NO_TIMESTAMPS)
        for name in (*names, END):
            if not len(vocabulary.tokens) <= vocabulary.special.get(name, -1) < manners.size:
                raise SamlError(f"a BPE vocabulary without the special token {name}, which Whisper needs")
        self.prompt = tuple(vocabulary.special[name] for name in names)
        self.end = self.pad = vocabulary.special[END]
        self._bpe = _library(vocabulary)

    @property
    def size(self) -> int:
        """Number of token ids, the special ones included."""
        return self._manners.size

    @property
    def never(self) -> tuple[int, ...]:
        """Tokens that a search may not take: special ones but the end, empty ones, the checkpoint's own."""
        tokens = self._vocabulary.tokens
        special = {*range(len(tokens), self.size)} - {self.end}
        empty = {index for index, token in enumerate(tokens) if not token}
        return tuple(sorted(special | empty | set(self._manners.never) - {self.end}))

    @property
    def never_first(self) -> tuple[int, ...]:
        """Tokens that a search may not begin with."""
        return tuple(self._manners.never_first)

    def unknown(self, text: str) -> str:
        """No character: all are made of bytes."""
        return ""

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without prompt and end."""
        words = " ".join((text.lower() if self._manners.lower else text).split())
        return list(self._bpe.encode(f" {words}").ids) if words else []

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special tokens and the space before it are left out."""
        text: str = self._bpe.decode([i for i in ids if 0 <= i < len(self._vocabulary.tokens)])
        return text.strip()

    def describe(self) -> dict[str, Any]:
        """What `tokeniser_of` needs to build this tokeniser again.

        The vocabulary is packed: as plain JSON it would be more than twice as long.
        """
        content = {"tokens": self._vocabulary.tokens, "merges": list(map(" ".join, self._vocabulary.merges))}
        packed = zlib.compress(json.dumps(content, ensure_ascii=False).encode(), 9)
        manners = self._manners
        return {
            "kind": "bpe",
            "size": manners.size,
            "multilingual": manners.multilingual,
            "lower": manners.lower,
            "special": {name: self._vocabulary.special[name] for name in _needed(self._vocabulary)},
            "never": ",".join(map(str, manners.never)),
            "never_first": ",".join(map(str, manners.never_first)),
            "vocabulary": base64.b64encode(packed).decode(),
        }


def bpe_of(description: Mapping[str, Any]) -> BpeTokeniser:
    """The tokeniser that its `describe` described. Raises SamlError where the description is damaged."""
    try:
        content = json.loads(zlib.decompress(base64.b64decode(description["vocabulary"], validate=True)))
    except (ValueError, zlib.error) as error:
        raise SamlError(
            f"the vocabulary of a model.json is damaged ({error}); make the model again"
        ) from None
    merges = tuple(_pair(merge) for merge in content["merges"])
    return BpeTokeniser(
        Vocabulary(tuple(content["tokens"]), merges, description["special"]),
        Manners(
            size=description["size"],
            multilingual=description["multilingual"],
            lower=description["lower"],
            never=_numbers(description["never"]),
            never_first=_numbers(description["never_first"]),
        ),
    )


def _library(vocabulary: Vocabulary) -> Tokenizer:
    ids = {token: index for index, token in enumerate(vocabulary.tokens)}
    bpe = Tokenizer(models.BPE(vocab=ids, merges=list(vocabulary.merges)))
    # No space of its own: `encode` gives one, and a second would be a token by itself.
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return bpe


def _needed(vocabulary: Vocabulary) -> Iterable[str]:
    return [name for name in (START, LANGUAGE, TASK, NO_TIMESTAMPS, END) if name in vocabulary.special]


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()
