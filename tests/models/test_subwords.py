"""Subwords of words: learned as byte-pair encoding is defined, stored and read back."""

import json
from collections import Counter

import pytest

from saml.models.tokenisers.characters import unknown_characters
from saml.models.tokenisers.kinds import build_tokeniser, tokeniser_of
from saml.models.tokenisers.subwords import SubwordTokeniser, learn_subwords
from saml.runtime.errors import SamlError

CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"
TEXTS = ["The theatre there", "then the other theme", "it's the weather", "bathe the thin others"] * 3


def learned(size: int = 50, texts: list[str] = TEXTS) -> SubwordTokeniser:
    return learn_subwords(texts, CHARACTERS, size, "model.conformer.bpe")


def most_frequent_merges(texts: list[str], number: int) -> list[str]:
    """Byte-pair encoding as Sennrich et al. 2016 define it, without any care for speed."""
    words = Counter(tuple("▁" + word) for text in texts for word in text.lower().split())
    merges = []
    for _ in range(number):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += times
        (first, times), (_, second_times) = pairs.most_common(2)
        assert times > second_times, "the test's text leaves it open which pair is the next"
        merges.append("".join(first))
        merged = Counter()
        for word, times in words.items():
            subwords: list[str] = []
            for letter in word:
                if subwords and (subwords[-1], letter) == first:
                    subwords[-1] += letter
                else:
                    subwords.append(letter)
            merged[tuple(subwords)] += times
        words = merged
    return merges


def test_merges_are_the_most_frequent_pairs() -> None:
    texts = ["ab"] * 9 + ["abc"] * 20 + ["xab"] * 4 + ["cc"] * 2
    assert most_frequent_merges(texts, 3) == ["ab", "▁ab", "▁abc"]
    tokeniser = learned(32 + 3, texts)
    assert [tokeniser.encode(text) for text in ("ab", "abc", "dab")] == [
        [5],
        [6],
        [*tokeniser.encode("d"), 4],
    ]


def test_ids_and_texts() -> None:
    tokeniser = learned()
    assert (tokeniser.pad, tokeniser.prompt, tokeniser.end, tokeniser.size) == (0, (1,), 2, 50)
    ids = tokeniser.encode("The  zebra's THEATRE ")
    assert min(ids) >= 4 and len(ids) < len("the zebra's theatre")
    assert tokeniser.decode([1, *ids, 2, 0, 0]) == "the zebra's theatre"
    assert set(tokeniser.never) == {0, 1, 3} and tokeniser.encode("") == []


def test_letters_that_no_transcript_has_are_subwords_and_others_are_named() -> None:
    tokeniser = learned()
    assert tokeniser.decode(tokeniser.encode("q z j")) == "q z j"
    assert tokeniser.unknown("1q É1▁ '") == "1é▁"
    with pytest.raises(SamlError, match="no token for '1'"):
        tokeniser.encode("a1")


def test_the_same_transcripts_give_the_same_bytes() -> None:
    """In whatever order, and however often speech is repeated at other speeds."""
    once = learned().to_json()
    assert learned(texts=TEXTS[::-1]).to_json() == once
    assert learned(texts=TEXTS * 3).to_json() == once
    other = learned(texts=[*TEXTS, "a wholly whole holly hole"])
    assert other.to_json() != once and other.describe() != learned().describe()


def test_long_transcripts_are_not_left_out() -> None:
    long = " ".join(["zyx"] * 2000)
    assert len(learned(40, [*TEXTS, long]).encode("zyx")) == 1


def test_a_description_gives_the_tokeniser_back() -> None:
    description = json.loads(json.dumps(learned().describe()))
    vocabulary = json.loads(learned().to_json())["sentencepiece"]
    again = tokeniser_of(description, learned().to_json())
    assert again.encode("the theme") == learned().encode("the theme")
    for damaged in (vocabulary[:40] + "AAAA" + vocabulary[44:], vocabulary[:39], 5):
        with pytest.raises(SamlError, match="the vocabulary of subwords is damaged"):
            tokeniser_of(description, json.dumps({"sentencepiece": damaged}))


def test_more_subwords_than_there_are() -> None:
    with pytest.raises(
        SamlError, match=r"^model\.conformer\.bpe: 500 tokens .* they have subwords for \d+ at most$"
    ):
        learned(500)


def test_of_a_configuration() -> None:
    """Without transcripts only which characters will be known."""
    model = {"family": "conformer", "conformer": {"characters": " abt", "bpe": 12}}
    assert unknown_characters(model)("A bat, a tub") == ",u"
    tokeniser = build_tokeniser(model, ["a bat at tab bat a bat"])
    assert tokeniser.size == 12 and len(tokeniser.encode("bat bat")) == 2
    with pytest.raises(SamlError, match="subwords are learned from transcripts"):
        build_tokeniser(model)
