"""Characters as tokens."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from saml.runtime.errors import SamlError
from saml.runtime.text import plain_line

PAD, START, END = 0, 1, 2
_SPECIAL = 3


class CharacterTokeniser:
    """Lower-cased characters as tokens, behind three special ones: padding 0, start 1, end 2.

    Padding doubles as the blank of the CTC loss, which never meets padded labels.
    """

    prompt: tuple[int, ...] = (START,)
    end = END
    pad = PAD
    never: tuple[int, ...] = ()
    never_first: tuple[int, ...] = ()

    def __init__(self, characters: str) -> None:
        if len(set(characters)) != len(characters) or characters != characters.lower():
            raise SamlError(f"characters of the tokeniser must be distinct and lower case: {characters!r}")
        self.characters = characters
        self._ids = {character: _SPECIAL + index for index, character in enumerate(characters)}

    @property
    def size(self) -> int:
        """Number of token ids, the special ones included."""
        return _SPECIAL + len(self.characters)

    def unknown(self, text: str) -> str:
        """The characters of `text`, each once and in order, that the tokeniser lacks."""
        return "".join(dict.fromkeys(c for c in normalise_spaces(text) if c not in self._ids))

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without start and end.

        Raises SamlError when a character is unknown.
        """
        lacking = self.unknown(text)
        if lacking:
            raise SamlError(f"the tokeniser has no token for {lacking!r} in {text!r}")
        return [self._ids[character] for character in normalise_spaces(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special tokens are left out."""
        return "".join(self.characters[i - _SPECIAL] for i in ids if _SPECIAL <= i < self.size).strip()

    def to_json(self) -> str:
        """The content of tokenizer.json: the characters in the order of their ids."""
        return json.dumps({"characters": self.characters})

    def describe(self) -> dict[str, Any]:
        """What `tokeniser_of` needs beside tokenizer.json to build this tokeniser again."""
        return {"kind": "characters", "sha256": hashlib.sha256(self.to_json().encode()).hexdigest()}


def normalise_spaces(text: str) -> str:
    """Lower case, in the form of `plain_line`: single spaces between words and none around them."""
    return plain_line(text.lower())


def unknown_characters(model: Mapping[str, Any]) -> Callable[[str], str]:
    """A text to those of its characters that the tokeniser of a config's `model` section will lack.

    A checkpoint's own vocabulary (no `characters`) is made of bytes, and has them all; subwords consist of
    the same `characters`.
    """
    characters = model[model["family"]]["characters"]
    if characters is None:
        return lambda text: ""
    return CharacterTokeniser(characters).unknown


def tokeniser_of_vocabulary(vocabulary: Mapping[str, int]) -> CharacterTokeniser:
    """The tokeniser whose tokens and ids are those of `vocabulary` (a checkpoint's vocab.json).

    Raises SamlError where it holds anything but three special tokens (ids 0 padding, 1 start, 2 end, whatever
    they are called) and lower-case characters from id 3 on.
    """
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    special, characters = tokens[:_SPECIAL], tokens[_SPECIAL:]
    whole = [vocabulary[token] for token in tokens] == list(range(len(tokens)))
    if not whole or min(map(len, special), default=0) < 2 or any(len(token) != 1 for token in characters):
        raise SamlError(
            f"a vocabulary of {len(tokens)} tokens that are not padding, start, end (ids 0, 1, 2) and single "
            "characters; for Whisper's own vocabulary say characters: null"
        )
    return CharacterTokeniser("".join(characters))
