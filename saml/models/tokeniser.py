"""Text to token ids and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from saml.errors import SamlError

PAD, START, END = 0, 1, 2


class CharacterTokeniser:
    """Lower-cased characters as tokens, behind three special ones: padding 0, start 1, end 2.

    Padding doubles as the blank of the CTC loss, which never meets padded labels.
    """

    def __init__(self, characters: str) -> None:
        if len(set(characters)) != len(characters) or characters != characters.lower():
            raise SamlError(f"characters of the tokeniser must be distinct and lower case: {characters!r}")
        self.characters = characters
        self._ids = {character: 3 + index for index, character in enumerate(characters)}

    @property
    def size(self) -> int:
        """Number of token ids, the special ones included."""
        return 3 + len(self.characters)

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
        return "".join(self.characters[i - 3] for i in ids if 3 <= i < self.size).strip()

    def describe(self) -> dict[str, Any]:
        """What `saml.models.rebuild` needs to build this tokeniser again."""
        return {"kind": "characters", "characters": self.characters}


def normalise_spaces(text: str) -> str:
    """Lower case, with single spaces between words and none around them."""
    return " ".join(text.lower().split())


def build_tokeniser(model: Mapping[str, Any]) -> CharacterTokeniser:
    """The tokeniser of a config's `model` section."""
    return CharacterTokeniser(model[model["family"]]["characters"])
