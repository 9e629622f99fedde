"""Transcripts and error statistics in the format of icefall's recipes.

Existing tools read icefall's `recogs-*.txt` and `errs-*.txt`. The format is icefall's, the alignment jiwer's,
as in all counts of this package. If icefall is installed, it can write the files itself.
"""

import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import jiwer

from saml.compat.optional import load
from saml.evaluation.wer import count_normalised, error_rate, pool, reference_units

# The symbol for a missing word.
_MISSING = "*"


@dataclass(frozen=True, order=True)
class Transcript:
    """Reference and hypothesis of an utterance, in words; `name` is unique."""

    name: str
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


# A word of the reference and the aligned one of the hypothesis; None for a missing word.
Pair = tuple[str | None, str | None]


def recogs(transcripts: Iterable[Transcript]) -> str:
    """The content of a recogs file: two lines per transcript, words as Python lists."""
    lines = []
    for one in transcripts:
        lines.append(f"{one.name}:\tref={list(one.reference)}\n")
        lines.append(f"{one.name}:\thyp={list(one.hypothesis)}\n")
    return "".join(lines)


def errs(transcripts: Sequence[Transcript]) -> str:
    """The content of an errs file: rate and counts, transcripts with marked errors, counts per word."""
    alignments = [align(one.reference, one.hypothesis) for one in transcripts]
    every = Counter(pair for alignment in alignments for pair in alignment)
    lines = [
        *_summary(transcripts),
        "",
        "PER-UTT DETAILS: corr or (ref->hyp)  ",
        *(f"{one.name}:\t{_marked(pairs)}" for one, pairs in zip(transcripts, alignments, strict=True)),
        *_listed("SUBSTITUTIONS: count ref -> hyp", _substitutions(every)),
        *_listed("DELETIONS: count ref", {ref: n for (ref, hyp), n in every.items() if ref and not hyp}),
        *_listed("INSERTIONS: count hyp", {hyp: n for (ref, hyp), n in every.items() if hyp and not ref}),
        "",
        "PER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp",
        *_words(every),
    ]
    return "\n".join(lines) + "\n"


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """The words of both in an alignment with the fewest errors, the one used for all counts."""
    found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    pairs: list[Pair] = []
    for chunk in found.alignments[0]:
        left: list[str | None] = list(reference[chunk.ref_start_idx : chunk.ref_end_idx])
        right: list[str | None] = list(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx])
        length = max(len(left), len(right))
        left += [None] * (length - len(left))
        right += [None] * (length - len(right))
        pairs += zip(left, right, strict=True)
    return pairs


def by_icefall(transcripts: Sequence[Transcript], name: str, setting: str) -> tuple[str, str]:
    """The contents of a recogs and an errs file as icefall itself writes them.

    Raises:
        SamlError: icefall, required by `setting`, cannot be imported.
    """
    utils = load("icefall.utils", setting, "saml")
    results = [(one.name, list(one.reference), list(one.hypothesis)) for one in transcripts]
    statistics = io.StringIO()
    utils.write_error_stats(statistics, name, results, enable_log=False)
    with tempfile.TemporaryDirectory(prefix="saml-") as folder:
        file = Path(folder, "recogs.txt")
        utils.store_transcripts(filename=file, texts=results)
        return file.read_text(encoding="utf-8"), statistics.getvalue()


def _summary(transcripts: Sequence[Transcript]) -> Iterator[str]:
    counts = pool(
        count_normalised(" ".join(one.reference), " ".join(one.hypothesis))["words"] for one in transcripts
    )
    yield f"%WER = {100 * error_rate(counts):.2f}"
    yield (
        f"Errors: {counts['insertions']} insertions, {counts['deletions']} deletions, "
        f"{counts['substitutions']} substitutions, over {reference_units(counts)} reference "
        f"words ({counts['hits']} correct)"
    )
    yield (
        "Search below for sections starting with PER-UTT DETAILS:, SUBSTITUTIONS:, DELETIONS:, INSERTIONS:, "
        "PER-WORD STATS:"
    )


def _marked(pairs: Iterable[Pair]) -> str:
    """A transcript with errors as (reference->hypothesis); adjacent errors share brackets."""
    words = []
    for correct, group in groupby(pairs, key=lambda pair: pair[0] == pair[1]):
        reference, hypothesis = (" ".join(filter(None, side)) for side in zip(*group, strict=True))
        words.append(reference if correct else f"({reference or _MISSING}->{hypothesis or _MISSING})")
    return " ".join(words)


def _substitutions(pairs: Counter[Pair]) -> dict[str, int]:
    return {
        f"{ref} -> {hyp}": n
        for (ref, hyp), n in pairs.items()
        if ref is not None and hyp is not None and ref != hyp
    }


def _listed(title: str, counts: dict[str, int]) -> Iterator[str]:
    """A section, most frequent first."""
    yield ""
    yield title
    for n, text in sorted(((n, text) for text, n in counts.items()), reverse=True):
        yield f"{n}   {text}"


def _words(pairs: Counter[Pair]) -> Iterator[str]:
    """Each word with its counts: correct, part of an error, in references, in hypotheses."""
    correct, in_references, in_hypotheses = Counter[str](), Counter[str](), Counter[str]()
    for (ref, hyp), n in pairs.items():
        if ref is not None:
            in_references[ref] += n
        if hyp is not None:
            in_hypotheses[hyp] += n
        if ref is not None and ref == hyp:
            correct[ref] += n
    rows = [
        (in_references[word] + in_hypotheses[word] - 2 * correct[word], word)
        for word in in_references.keys() | in_hypotheses.keys()
    ]
    for errors, word in sorted(rows, reverse=True):
        yield f"{word}   {correct[word]} {errors} {in_references[word]} {in_hypotheses[word]}"
