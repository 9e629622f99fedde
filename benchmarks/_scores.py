"""Word errors of contenders that decode the same utterances: totals, and one against another."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from lhotse import MonoCut

from saml.decoding.transcription import Output
from saml.evaluation.bootstrap import interval, p_value, rates, relative_reductions, resampled_sums
from saml.evaluation.wer import count, errors, reference_units

DRAWS = 10_000
# Word errors and words of each utterance, by speaker.
Counts = dict[str, list[tuple[int, int]]]


def add_counts(
    counts: Counts, speaker: str, cuts: Iterable[MonoCut], outputs: Iterable[Output], scorer: str = "released"
) -> None:
    """Add the speaker's word errors and words; cuts have their reference texts."""
    own = counts.setdefault(speaker, [])
    for cut, output in zip(cuts, outputs, strict=True):
        words = count(cut.supervisions[0].text, output.text, [scorer])[scorer]["words"]
        own.append((errors(words), reference_units(words)))


def counts_by_speaker(cuts: Sequence[MonoCut], outputs: Sequence[Output], scorer: str = "released") -> Counts:
    """The word errors and words of cuts of several speakers."""
    counts: Counts = {}
    for cut, output in zip(cuts, outputs, strict=True):
        add_counts(counts, cut.supervisions[0].speaker, [cut], [output], scorer)
    return counts


def summed(several: Sequence[Counts]) -> Counts:
    """Errors and words of utterances that were decoded several times, such as with one adapter after another.

    An utterance that is decoded several times is drawn as one: its outputs depend on each other.
    """
    return {
        speaker: [
            (sum(errors for errors, _ in times), sum(words for _, words in times))
            for times in zip(*(counts[speaker] for counts in several), strict=True)
        ]
        for speaker in several[0]
    }


def pooled(counts: Counts) -> dict[str, Any]:
    """Errors, words and WER in per cent, over all speakers: columns of a table."""
    wrong = sum(errors for own in counts.values() for errors, _ in own)
    words = sum(units for own in counts.values() for _, units in own)
    return {"errors": wrong, "words": words, "WER %": 100 * wrong / words}


def compared(reference: Counts, other: Counts, seed: int) -> str:
    """The relative WER reduction with its interval, utterances resampled within speakers, and p."""
    tables = [_table(own, other[speaker]) for speaker, own in reference.items()]
    sums = resampled_sums(tables, draws=DRAWS, seed=seed)
    before, after = (rates(sums[:, column], sums[:, 2]) for column in (0, 1))
    ends = interval(relative_reductions(before, after))
    was, now = pooled(reference)["errors"], pooled(other)["errors"]
    reduction = f"{100 * (was - now) / was:.1f} " if was else ""
    bounds = f"[{100 * ends.low:.1f}, {100 * ends.high:.1f}]"
    return f"reduction {reduction}{bounds} %, p = {p_value(before, after):.2g}"


def _table(one: Sequence[tuple[int, int]], two: Sequence[tuple[int, int]]) -> Any:
    """A speaker's utterances `(utterances, 3)`: errors of both, words."""
    return np.array([[a[0], b[0], a[1]] for a, b in zip(one, two, strict=True)])
