"""Characters to ids and back."""

import pytest

from saml.errors import SamlError
from saml.models.tokeniser import END, PAD, START, CharacterTokeniser


def test_ids_by_hand() -> None:
    tokeniser = CharacterTokeniser(" 'abc")
    assert (PAD, START, END) == (0, 1, 2) and tokeniser.size == 8
    assert tokeniser.encode("Ab  c'A ") == [5, 6, 3, 7, 4, 5]
    assert tokeniser.decode([START, 5, 6, 3, 7, 4, 5, END, PAD]) == "ab c'a"


def test_unknown_characters_are_named() -> None:
    tokeniser = CharacterTokeniser(" abc")
    assert tokeniser.unknown("a1b2 É1") == "12é"
    with pytest.raises(SamlError, match="no token for '1'"):
        tokeniser.encode("a1")


@pytest.mark.parametrize("characters", ["aa", "A"])
def test_an_alphabet_that_cannot_be(characters: str) -> None:
    with pytest.raises(SamlError, match="distinct and lower case"):
        CharacterTokeniser(characters)
