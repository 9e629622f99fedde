"""Word and character errors: two text normalisers, Levenshtein counts, rates of pooled counts.

`released` is the scorer of the published code: it keeps digits and joins hyphenated words, so some of its
errors are differences of formatting. `whisper` is Whisper's English normaliser, which removes most of these.
Both are reported, so that a gain in formatting is not reported as a gain in recognition.

Counts are plain mappings, as in hypotheses.jsonl:

    {"whisper": {"words": {"hits": 5, "substitutions": 1, "deletions": 0, "insertions": 0},
                 "characters": {"hits": 20, ...}}, "released": {...}}
"""

import functools
import importlib.resources
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping

import jiwer

from saml.runtime.errors import SamlError
from saml.runtime.text import plain_text

OPERATIONS = ("hits", "substitutions", "deletions", "insertions")
UNITS = ("words", "characters")

Counts = dict[str, int]


def count(reference: str, hypothesis: str, scorers: Iterable[str]) -> dict[str, dict[str, Counts]]:
    """The counts of one utterance: {scorer: {"words" | "characters": {operation: number}}}.

    If a scorer leaves the reference empty ("uh" under `whisper`), every hypothesised unit is an insertion.
    Characters include the single spaces between words, as is usual for CER.

    Raises:
        SamlError: unknown scorer.
    """
    return {
        scorer: count_normalised(normalise(reference, scorer), normalise(hypothesis, scorer))
        for scorer in scorers
    }


def count_normalised(reference: str, hypothesis: str) -> dict[str, Counts]:
    """Word and character counts of two texts without normalisation; words are separated by spaces."""
    words = jiwer.process_words(reference, hypothesis)
    characters = jiwer.process_characters(reference, hypothesis)
    return {
        unit: {operation: int(getattr(alignment, operation)) for operation in OPERATIONS}
        for unit, alignment in zip(UNITS, (words, characters), strict=True)
    }


def normalise(text: str, scorer: str) -> str:
    """`text` as normalised by `scorer`, its words separated by single spaces.

    Texts that look alike are brought to one form first (`plain_text`), except texts of ASCII, of which
    `released` counts what the published code counts.

    Raises:
        SamlError: unknown scorer.
    """
    if scorer not in SCORERS:
        raise SamlError(f"scoring.scorers: no scorer {scorer!r}; there are {', '.join(SCORERS)}")
    return " ".join(SCORERS[scorer](text if text.isascii() else plain_text(text)).split())


def pool(counts: Iterable[Mapping[str, int]]) -> Counts:
    """The sum of many counts of one unit; all zero without counts."""
    total = dict.fromkeys(OPERATIONS, 0)
    for utterance in counts:
        for operation in OPERATIONS:
            total[operation] += int(utterance[operation])
    return total


def reference_units(counts: Mapping[str, int]) -> int:
    """The number of words (or characters) in the reference."""
    return counts["hits"] + counts["substitutions"] + counts["deletions"]


def errors(counts: Mapping[str, int]) -> int:
    """Substitutions, deletions and insertions together."""
    return counts["substitutions"] + counts["deletions"] + counts["insertions"]


def error_rate(counts: Mapping[str, int]) -> float:
    """WER (of word counts) or CER (of character counts) as a fraction; more than 1 is possible.

    Without reference units it is 0 for an empty hypothesis and infinite otherwise.
    """
    units, total = reference_units(counts), errors(counts)
    if units == 0:
        return 0.0 if total == 0 else math.inf
    return total / units


def relative_reduction(reference: float, arm: float) -> float:
    """The relative reduction (reference - arm) / reference of two error rates.

    With a reference of 0 the reduction is 0 for an equal arm and minus infinity otherwise.
    """
    if reference == 0:
        return 0.0 if arm == 0 else -math.inf
    return (reference - arm) / reference


def _released(text: str) -> str:
    return re.sub(r"[^a-z0-9' ]", "", text.lower())


def _whisper(text: str) -> str:
    return _whisper_normaliser()(text)


@functools.cache
def _whisper_normaliser() -> Callable[[str], str]:
    # Imported on first use, because most commands score nothing. This submodule needs neither torch nor
    # torchaudio, so it also works where torchaudio's import fails.
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    normaliser: Callable[[str], str] = EnglishTextNormalizer(spelling_table())
    return normaliser


def spelling_table() -> dict[str, str]:
    """Whisper's table of British to American spellings (source: saml/evaluation/data/README.md)."""
    file = importlib.resources.files("saml.evaluation") / "data" / "whisper_english_spelling.json"
    table: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return table


# A scorer is a text normaliser; a new one is a new entry here.
SCORERS: dict[str, Callable[[str], str]] = {"released": _released, "whisper": _whisper}
