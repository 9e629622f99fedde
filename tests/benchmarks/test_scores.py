"""Word errors of benchmarks' contenders, counted by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks._scores import Counts, add_counts, compared, counts_by_speaker, pooled, summed


def _spoken(text: str) -> Any:
    return SimpleNamespace(supervisions=[SimpleNamespace(text=text)])


def _output(text: str) -> Any:
    return SimpleNamespace(text=text)


def test_errors_and_words_are_those_of_each_utterance() -> None:
    counts: Counts = {}
    add_counts(
        counts, "a", [_spoken("one two three"), _spoken("four")], [_output("one three"), _output("four five")]
    )
    add_counts(counts, "b", [_spoken("six")], [_output("six")])
    assert counts == {"a": [(1, 3), (1, 1)], "b": [(0, 1)]}
    assert pooled(counts) == {"errors": 2, "words": 5, "WER %": pytest.approx(40.0)}


def test_the_scorer_that_is_asked_for_counts() -> None:
    counts: Counts = {}
    add_counts(counts, "a", [_spoken("twenty five")], [_output("25")], "whisper")
    assert counts == {"a": [(0, 1)]}  # Whisper's normaliser writes numbers in digits


def test_half_of_the_errors_in_every_utterance_is_a_reduction_of_a_half() -> None:
    reference: Counts = {"a": [(2, 10), (2, 10)], "b": [(4, 10), (4, 10)]}
    other = {speaker: [(errors // 2, words) for errors, words in own] for speaker, own in reference.items()}
    assert compared(reference, other, 1) == "reduction 50.0 [50.0, 50.0] %, p = 0.0002"
    assert compared(reference, reference, 1).endswith("p = 1")


def test_a_reference_without_errors_has_no_reduction() -> None:
    assert compared({"a": [(0, 5)]}, {"a": [(0, 5)]}, 1).startswith("reduction [")


def test_an_utterance_that_is_decoded_twice_is_drawn_once() -> None:
    """Two adapters make 1 and 3 errors in one utterance of ten words, 0 and 2 in the other."""
    one: Counts = {"b": [(1, 10), (0, 10)]}
    two: Counts = {"b": [(3, 10), (2, 10)]}
    assert summed([one, two]) == {"b": [(4, 20), (2, 20)]}


def test_cuts_of_several_speakers_are_counted_for_each() -> None:
    cuts = [
        SimpleNamespace(supervisions=[SimpleNamespace(text=text, speaker=speaker)])
        for text, speaker in (("one two", "b"), ("three", "a"), ("four five six", "b"))
    ]
    outputs = [_output("one"), _output("three"), _output("four five six seven")]
    found: Any = counts_by_speaker(cuts, outputs)  # type: ignore[arg-type]
    assert found == {"b": [(1, 2), (1, 3)], "a": [(0, 1)]}
