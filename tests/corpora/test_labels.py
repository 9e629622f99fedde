"""Labels in the style of the model, written out by hand."""

import pytest

from saml.corpora.labels import in_models_style, is_formatted


@pytest.mark.parametrize(
    ("transcript", "hypothesis", "label"),
    [
        ("the cat sat on the mat", "The cat sat on the mat.", "The cat sat on the mat."),
        ("HELLO MISTER SMITH", "Hello, Mr. Smith!", "Hello, mister Smith!"),
        ("i went to london in may", "I went to London and May.", "I went to London in May."),
        ("twenty men came", "20 men came", "Twenty men came."),
        ("don't go", "Don't go?", "Don't go?"),
        ("we know", "", "We know."),
        ("we know", "Thank you. Thank you.", "We know."),
        ("yes we do", "Yes - we do,", "Yes we do."),
        ("a b c", "A, B, C", "A, B, C."),
        ("one two three", "one two two three", "One two three."),
        ("...", "Hello.", "..."),
    ],
)
def test_words_of_the_transcript_in_the_models_form(transcript: str, hypothesis: str, label: str) -> None:
    assert in_models_style(transcript, hypothesis) == label


def test_labels_keep_the_words_of_the_transcript() -> None:
    transcript = "she had your dark suit in greasy wash water all year"
    for hypothesis in ("She had your dark suit, and greasy wash water, all year.", "Dark. Dark. Water", "X"):
        label = in_models_style(transcript, hypothesis)
        assert "".join(c for c in label.lower() if c.isalpha() or c == " ") == transcript
        assert is_formatted(label)


@pytest.mark.parametrize(
    ("text", "formatted"),
    [("Yes.", True), ("20 men?", True), ("yes.", False), ("Yes", False), ("", False), ("Yes,", False)],
)
def test_what_is_formatted(text: str, formatted: bool) -> None:
    assert is_formatted(text) is formatted
