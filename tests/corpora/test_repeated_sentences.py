"""Sentences in train and test of one fold."""

from saml.corpora.repeated_sentences import repeated_sentences

TEXTS = {
    "a1": "Bin blue, now!",
    "a2": "bin\u00a0blue now",
    "a3": "lay red",
    "a4": "it\u2019s late",
    "a5": "It's late.",
    "a6": "...",
    "a7": "!",
}


def test_by_hand() -> None:
    """a2 repeats a1, and a5 repeats a4; what has no words repeats nothing."""
    folds = [
        {"train": ["a1", "a3"], "dev": ["a4"], "test": ["a2", "a5"]},
        {"train": ["a4", "a6"], "dev": ["a2"], "test": ["a1", "a5", "a7"]},
    ]
    assert repeated_sentences("anna", folds, TEXTS) == (
        "anna: 2 of 5 test utterances say a sentence that is trained on too, such as 'bin blue now' "
        "(a2, trained on as a1); error rates on new sentences may be higher"
    )


def test_other_sentences_are_none_of_its_business() -> None:
    assert repeated_sentences("anna", [{"train": ["a1"], "dev": ["a2"], "test": ["a3"]}], TEXTS) is None
    assert repeated_sentences("anna", [{"train": ["a1"], "dev": ["a2"], "test": []}], TEXTS) is None


def test_other_scripts() -> None:
    texts = {"a": "Один, два", "b": "один два", "c": "नमस्ते।", "d": "नमस्ते"}
    found = repeated_sentences("u", [{"train": ["a", "c"], "test": ["b", "d"]}], texts)
    assert found is not None and "2 of 2" in found


def test_long_examples_are_cut() -> None:
    texts = {"a": "one " * 100, "b": "one " * 100}
    line = repeated_sentences("u", [{"train": ["a"], "test": ["b"]}], texts)
    assert line is not None and len(line) < 250
