"""Transcripts and error statistics in the form that icefall's recipes leave behind.

Who has compared systems with icefall has tools that read its `recogs-*.txt` and `errs-*.txt`; the form is
icefall's, the alignment jiwer's, as in all our counts. Where icefall can be imported it can write them
itself.
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

# What stands in the place of a word that is not there.
_NOTHING = "*"


@dataclass(frozen=True, order=True)
class Transcript:
    """What was said and what was understood, in words; `name` is unlike that of any other transcript."""

    name: str
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


# What stands in the reference and in the hypothesis; None where there is no such word.
Pair = tuple[str | None, str | None]


def recogs(transcripts: Iterable[Transcript]) -> str:
    """The content of a recogs file: two lines a transcript, words as Python lists."""
    lines = []
    for one in transcripts:
        lines.append(f"{one.name}:\tref={list(one.reference)}\n")
        lines.append(f"{one.name}:\thyp={list(one.hypothesis)}\n")
    return "".join(lines)


def errs(transcripts: Sequence[Transcript]) -> str:
    """The content of an errs file: rate and counts, each transcript with errors marked, then each word."""
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
    """The words of both side by side, in an alignment with the fewest errors: the one that is counted."""
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
        SamlError: icefall, which `setting` asks for, cannot be imported.
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
    """A transcript with errors as (reference->hypothesis); errors that follow each other share brackets."""
    said = []
    for right, group in groupby(pairs, key=lambda pair: pair[0] == pair[1]):
        left, understood = (" ".join(filter(None, side)) for side in zip(*group, strict=True))
        said.append(left if right else f"({left or _NOTHING}->{understood or _NOTHING})")
    return " ".join(said)


def _substitutions(pairs: Counter[Pair]) -> dict[str, int]:
    return {
        f"{ref} -> {hyp}": n
        for (ref, hyp), n in pairs.items()
        if ref is not None and hyp is not None and ref != hyp
    }


def _listed(title: str, counts: dict[str, int]) -> Iterator[str]:
    """A section: the most frequent first."""
    yield ""
    yield title
    for n, what in sorted(((n, what) for what, n in counts.items()), reverse=True):
        yield f"{n}   {what}"


def _words(pairs: Counter[Pair]) -> Iterator[str]:
    """Each word with how often it was right, was part of an error, was said, and was understood."""
    correct, said, understood = Counter[str](), Counter[str](), Counter[str]()
    for (ref, hyp), n in pairs.items():
        if ref is not None:
            said[ref] += n
        if hyp is not None:
            understood[hyp] += n
        if ref is not None and ref == hyp:
            correct[ref] += n
    rows = [
        (said[word] + understood[word] - 2 * correct[word], word) for word in sorted(said.keys() | understood)
    ]
    for wrong, word in sorted(rows, reverse=True):
        yield f"{word}   {correct[word]} {wrong} {said[word]} {understood[word]}"
