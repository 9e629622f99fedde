"""Example sentences of an arm before and after adaptation: the largest gains, typical ones, the worst."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from saml.evaluation.wer import errors
from saml.reporting.hypotheses import Decoded, read_lines
from saml.reporting.sentences import Sentence
from saml.runtime.errors import SamlError

# Sentences of each kind, each of another speaker.
EACH = 2


@dataclass(frozen=True)
class Example(Sentence):
    """A sentence of a target speaker."""

    speaker: str

    @property
    def gain(self) -> int:
        """How many errors fewer after adaptation."""
        return self.errors_before - self.errors_after


def tested_lines(results: Path, arm: str, speaker: str, seed: int) -> dict[str, dict[str, Any]]:
    """The test part of an arm's hypotheses for a speaker, by utterance.

    Raises:
        SamlError: they are missing or damaged.
    """
    lines = read_lines(Decoded(arm, speaker, seed).folder(results) / "hypotheses.jsonl")
    return {line["utterance"]: line for line in lines if line["part"] == "test"}


def word_errors(line: Mapping[str, Any], scorer: str) -> int:
    """The word errors of a line of hypotheses. Raises SamlError if it has no counts of this scorer."""
    try:
        return errors(line["counts"][scorer]["words"])
    except (KeyError, TypeError) as error:
        raise SamlError(f"utterance {line.get('utterance', '?')} has no {error}; decode again") from None


def paired(
    results: Path, before: tuple[str, int], after: tuple[str, int], speakers: Sequence[str], scorer: str
) -> list[Example]:
    """All test utterances under two arms, each given with its seed.

    Raises:
        SamlError: hypotheses are missing or damaged, or not of the same utterances.
    """
    found = []
    for speaker in speakers:
        ones, others = (tested_lines(results, arm, speaker, seed) for arm, seed in (before, after))
        if ones.keys() != others.keys():
            raise SamlError(
                f"speaker {speaker}: {before[0]} and {after[0]} have other utterances; decode again"
            )
        for name, one in ones.items():
            other = others[name]
            found.append(
                Example(
                    speaker=speaker,
                    utterance=name,
                    reference=one["reference"],
                    before=one["hypothesis"],
                    after=other["hypothesis"],
                    errors_before=word_errors(one, scorer),
                    errors_after=word_errors(other, scorer),
                )
            )
    return found


def chosen(sentences: Sequence[Example]) -> dict[str, list[Example]]:
    """The examples by kind, at most `EACH` of a kind; a kind without any is left out.

    Typical are those whose errors before and after are nearest to the means. The worst have more errors after
    than before.
    """
    if not sentences:
        return {}
    before = fmean(one.errors_before for one in sentences)
    after = fmean(one.errors_after for one in sentences)

    def distance(one: Example) -> float:
        return (one.errors_before - before) ** 2 + (one.errors_after - after) ** 2

    kinds = {
        "Largest gain": sorted((one for one in sentences if one.gain > 0), key=lambda one: -one.gain),
        "Typical": sorted(sentences, key=distance),
        "Worst": sorted((one for one in sentences if one.gain < 0), key=lambda one: one.gain),
    }
    picked = {kind: _of_different_speakers(ordered) for kind, ordered in kinds.items()}
    return {kind: ones for kind, ones in picked.items() if ones}


def _of_different_speakers(ordered: Iterable[Example]) -> list[Example]:
    picked: dict[str, Example] = {}
    for one in ordered:
        picked.setdefault(one.speaker, one)
    return list(picked.values())[:EACH]
