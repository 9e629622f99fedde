"""Characters to ids and back."""

import pytest

from saml.models.tokenisers.characters import CharacterTokeniser, tokeniser_of_vocabulary
from saml.models.tokenisers.kinds import tokeniser_of
from saml.runtime.errors import SamlError


def test_ids_by_hand() -> None:
    tokeniser = CharacterTokeniser(" 'abc")
    assert (tokeniser.pad, tokeniser.prompt, tokeniser.end) == (0, (1,), 2) and tokeniser.size == 8
    assert tokeniser.encode("Ab  c'A ") == [5, 6, 3, 7, 4, 5]
    assert tokeniser.decode([1, 5, 6, 3, 7, 4, 5, 2, 0]) == "ab c'a"


def test_unknown_characters_are_named() -> None:
    tokeniser = CharacterTokeniser(" abc")
    assert tokeniser.unknown("a1b2 É1") == "12é"
    with pytest.raises(SamlError, match="no token for '1'"):
        tokeniser.encode("a1")


@pytest.mark.parametrize("characters", ["aa", "A"])
def test_an_alphabet_that_cannot_be(characters: str) -> None:
    with pytest.raises(SamlError, match="distinct and lower case"):
        CharacterTokeniser(characters)


def test_a_description_gives_the_tokeniser_back() -> None:
    tokeniser = CharacterTokeniser("ba c")
    assert tokeniser_of(tokeniser.describe(), tokeniser.to_json()).encode("a b") == [4, 5, 3]
    with pytest.raises(SamlError, match="no tokeniser of kind 'bytes'"):
        tokeniser_of({"kind": "bytes"}, "{}")


def test_a_vocabulary_keeps_its_ids() -> None:
    vocabulary = {"b": 4, " ": 3, "<pad>": 0, "[start]": 1, "</s>": 2, "a": 5}
    tokeniser = tokeniser_of_vocabulary(vocabulary)
    assert tokeniser.encode("a b") == [vocabulary[c] for c in "a b"]
