"""Sentences that a speaker is adapted to and tested on: said in more than one recording."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from saml.runtime.text import plain_text

_SHOWN = 60  # characters of the example


def repeated_sentences(
    speaker: str, folds: Iterable[Mapping[str, Sequence[str]]], texts: Mapping[str, str]
) -> str | None:
    """A line about the test utterances whose sentence is trained on in the same fold, or None without any.

    Sentences are compared without capitals and punctuation.

    Args:
        speaker: the speaker's id.
        folds: the utterance ids of `train` and `test` of each fold, as in splits.json.
        texts: utterance id -> transcript.
    """
    tested = 0
    repeated: list[tuple[str, str]] = []  # utterance of test, the same sentence in train
    for fold in folds:
        trained = {_words(texts[utterance]): utterance for utterance in reversed(fold["train"])}
        tested += len(fold["test"])
        repeated += [
            (utterance, trained[words])
            for utterance in fold["test"]
            if (words := _words(texts[utterance])) and words in trained
        ]
    if not repeated:
        return None
    example, same = repeated[0]
    text = " ".join(texts[example].split())
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 4] + " ..."
    return (
        f"{speaker}: {len(repeated)} of {tested} test utterances say a sentence that is trained on too, such "
        f"as {text!r} ({example}, trained on as {same}); error rates on new sentences may be higher"
    )


def _words(text: str) -> str:
    """Lower-cased letters, marks and digits, and apostrophes; words separated by single spaces."""
    kept = (
        c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in plain_text(text).casefold()
    )
    return " ".join("".join(kept).split())
