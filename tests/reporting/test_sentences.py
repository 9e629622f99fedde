"""Sentences on pages: which words are marked, and what the article has."""

import pytest

from saml.reporting.sentences import article, marked


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("the cat sat", "The cat sat.", "the cat sat"),  # capitals and marks are no errors
        ("the bat sat", "The cat sat.", "the <del>cat</del> <mark>bat</mark> sat"),
        ("the cat", "The cat sat.", "the cat <del>sat.</del>"),
        ("the fat cat sat", "The cat sat.", "the <mark>fat</mark> cat sat"),
        ("a <b> c", "a c", "a <mark>&lt;b&gt;</mark> c"),
    ],
)
def test_differing_words_are_marked(text: str, reference: str, expected: str) -> None:
    assert marked(text, reference, "whisper") == expected


def test_an_article_has_a_line_for_each_text_and_escapes_them() -> None:
    text = article("u1", "a < b", [("before", "a < c"), ("after", "a < b")], 'x"y.flac', "whisper")
    assert text.count("<p>") == 3 and "a &lt; b" in text and "<mark>c</mark>" in text
    assert 'src="x&quot;y.flac"' in text
    assert "<audio" not in article("u1", "a", [], None, "whisper")
