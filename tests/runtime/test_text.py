"""Texts that look alike become equal; everything else stays."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saml.runtime.text import plain_line, plain_text

ALIKE = {
    "curly apostrophe": ("don\u2019t", "don't"),
    "opening quote as apostrophe": ("\u2018tis", "'tis"),
    "reversed quote": ("don\u201bt", "don't"),
    "modifier letter": ("don\u02bct", "don't"),
    "wide apostrophe": ("don\uff07t", "don't"),
    "grave accent between letters": ("don`t", "don't"),
    "acute accent between letters": ("don\u00b4t", "don't"),
    "prime between letters": ("don\u2032t", "don't"),
    "accents elsewhere": ("`code` 5\u2032 \u00b4", "`code` 5\u2032 \u00b4"),
    "curly quotes": ("\u201cWell,\u201d she said", '"Well," she said'),
    "low quote": ("\u201eja\u201c", '"ja"'),
    "no-break space": ("a\u00a0b\u202fc", "a b c"),
    "wide and line spaces": ("a\u3000b\u2003c\u2028d\u2029e", "a b c d e"),
    "soft hyphen": ("wi\u00adfi", "wifi"),
    "no width": ("one\u200b two\u200d\u2060", "one two"),
    "byte order mark": ("\ufeffone", "one"),
    "marks of direction": ("\u202bone\u202c \u200etwo\u2066", "one two"),
    "letters apart": ("cafe\u0301", "caf\u00e9"),
    "letters apart by a soft hyphen": ("cafe\u00ad\u0301", "caf\u00e9"),
    "capitals and punctuation": ("Well — «no»… 5 %!", "Well — «no»… 5 %!"),
    "other letters": ("Привет 一", "Привет 一"),
    "tabs and lines": ("a\tb\nc", "a\tb\nc"),
}


@pytest.mark.parametrize("case", ALIKE)
def test_by_hand(case: str) -> None:
    given_text, expected = ALIKE[case]
    assert plain_text(given_text) == expected


@given(st.text(max_size=30))
def test_twice_is_once_and_whatever_is_composed(text: str) -> None:
    found = plain_text(text)
    assert plain_text(found) == found
    assert unicodedata.is_normalized("NFC", found)
    assert plain_text(unicodedata.normalize("NFD", text)) == found


@given(st.text(st.characters(max_codepoint=126, exclude_characters="`"), max_size=30))
def test_ascii_stays(text: str) -> None:
    assert plain_text(text) == text


def test_a_line_has_single_spaces() -> None:
    assert plain_line(" a\t\u00a0b\n\ufeff ") == "a b"
