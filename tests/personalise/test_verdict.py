"""The verdict against counts done by hand, and the page that shows it."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from saml.evaluation.wer import count
from saml.personalise.page import write_page
from saml.personalise.verdict import (
    DO_NOT_USE,
    EXIT_STATUS,
    NO_DIFFERENCE,
    USE,
    Verdict,
    as_text,
    chance,
    judge,
)
from saml.runtime.errors import SamlError

SAID = ["The cat sat.", "On the mat.", "It was fat."]


def lines(texts: list[str], guard: str = "", said: list[str] = SAID) -> list[dict[str, Any]]:
    return [
        {
            "utterance": f"u{index}",
            "reference": reference,
            "hypothesis": text,
            "guard": guard if index == 0 else "",
            "counts": count(reference, text, ["whisper"]),
        }
        for index, (reference, text) in enumerate(zip(said, texts, strict=True))
    ]


BEFORE = ["the bat sat", "In a mat.", "It was fat."]  # 1 + 2 + 0 errors of 9 words
AFTER = ["The cat sat.", "On the mat.", "It is fat."]  # 0 + 0 + 1


def verdict(before: list[str] = BEFORE, after: list[str] = AFTER) -> Verdict:
    return judge("ann", "pqm", {"fp32": lines(before), "nf4": lines(before, "context"), "pqm": lines(after)})


def test_errors_and_sentences_are_counted() -> None:
    found = verdict()
    assert found.words == 9 and found.errors == {"fp32": 3, "nf4": 3, "pqm": 1}
    assert found.reduction == pytest.approx(2 / 3)
    assert (found.better, found.worse) == (2, 1)
    assert found.formatted_before == pytest.approx(2 / 3) and found.formatted_after == 1.0
    assert found.looped == {"fp32": 0, "nf4": 1, "pqm": 0} and found.improves
    text = "\n".join(as_text(found))
    assert "ann, pqm: 3 -> 1 of 9 words wrong (3 recordings)" in text
    assert "sentences: 2 better, 1 worse, 0 the same" in text
    assert "worse: u2 (0 -> 1 errors)" in text and "decoded again: nf4 1" in text


def test_three_sentences_show_nothing_unless_all_agree() -> None:
    """Drawn from three sentences, the third alone, which got worse, is drawn in one of 27 draws."""
    assert verdict().recommendation == NO_DIFFERENCE
    worse = ["the bat sad", "In a mad.", "It is cat."]
    assert verdict(worse, SAID).recommendation == USE
    assert verdict(SAID, worse).recommendation == DO_NOT_USE
    assert verdict(SAID, SAID).recommendation == NO_DIFFERENCE
    assert EXIT_STATUS == {USE: 0, NO_DIFFERENCE: 10, DO_NOT_USE: 11}
    assert "so few recordings" in as_text(verdict())[-1] and "Do not use" in as_text(verdict(SAID, worse))[-1]


def test_arms_must_have_the_same_recordings() -> None:
    with pytest.raises(SamlError, match="compares with the arm nf4"):
        judge("ann", "pqm", {"pqm": lines(AFTER)})
    with pytest.raises(SamlError, match="other recordings than each other"):
        judge("ann", "pqm", {"nf4": lines(BEFORE)[:2], "pqm": lines(AFTER)})


def test_recordings_without_words_have_errors_too() -> None:
    """Whisper's normaliser leaves nothing of "uh"; what is written there is wrong all the same."""
    before = lines(["big cat there", "and more", "nice day"], said=["uh", "mhm", "hmm"])
    after = lines(["", "", ""], said=["uh", "mhm", "hmm"])
    found = judge("ann", "pqm", {"nf4": before, "pqm": after})
    assert found.words == 0 and found.errors == {"nf4": 7, "pqm": 0}
    assert (found.reduction, found.low, found.high) == (1.0, 1.0, 1.0) and found.recommendation == USE


def test_it_is_json() -> None:
    content = json.loads(json.dumps(verdict().as_json(), allow_nan=False))
    # A draw without the only error before has no reduction.
    infinite = verdict(["The cat sad.", *SAID[1:]], [SAID[0], "On the mad.", SAID[2]])
    assert infinite.low == -float("inf")
    assert json.loads(json.dumps(infinite.as_json(), allow_nan=False))["low"] is None
    assert content["errors"]["pqm"] == 1 and content["sentences"][1]["before"] == "In a mat."


def test_the_page_has_every_sentence_and_its_audio_and_nothing_outside(tmp_path: Path) -> None:
    audio = tmp_path / "u0.wav"
    audio.write_bytes(b"RIFF....")
    write_page(tmp_path / "report.html", [verdict()], {"u0": audio})
    page = (tmp_path / "report.html").read_text()
    assert base64.b64encode(b"RIFF....").decode() in page and page.count("<article>") == 3
    assert "3 &rarr; 1 of 9 words wrong" in page and "so few recordings" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_a_small_p_is_not_zero() -> None:
    assert [chance(p) for p in (0.0002, 0.001, 0.04849, 1.0)] == [
        "p < 0.001",
        "p = 0.001",
        "p = 0.048",
        "p = 1.000",
    ]
