"""Transcripts in icefall's format, against files written out by hand."""

import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import pytest

from saml.reporting.error_stats import Transcript, align, by_icefall, errs, recogs
from saml.runtime.errors import SamlError

SAID = [
    (
        "a-1",
        "the association of edison illuminating companies",
        "the association of addison illuminating companies",
    ),
    ("a-2", "for the first day sir i think", "for the first day i think"),
    ("b-1", "go", "oh go on now"),
    ("b-2", "one two three four", "one five"),
    ("b-3", "", "uh"),
    ("b-4", "red", ""),
]
TRANSCRIPTS = [Transcript(name, tuple(ref.split()), tuple(hyp.split())) for name, ref, hyp in SAID]

ERRS = """\
%WER = 52.63
Errors: 4 insertions, 4 deletions, 2 substitutions, over 19 reference words (13 correct)
Search below for sections starting with PER-UTT DETAILS:, SUBSTITUTIONS:, DELETIONS:, INSERTIONS:, \
PER-WORD STATS:

PER-UTT DETAILS: corr or (ref->hyp)__
a-1:	the association of (edison->addison) illuminating companies
a-2:	for the first day (sir->*) i think
b-1:	(*->oh) go (*->on now)
b-2:	one (two three four->five)
b-3:	(*->uh)
b-4:	(red->*)

SUBSTITUTIONS: count ref -> hyp
1   two -> five
1   edison -> addison

DELETIONS: count ref
1   three
1   sir
1   red
1   four

INSERTIONS: count hyp
1   uh
1   on
1   oh
1   now

PER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp
uh   0 1 0 1
two   0 1 1 0
three   0 1 1 0
sir   0 1 1 0
red   0 1 1 0
on   0 1 0 1
oh   0 1 0 1
now   0 1 0 1
four   0 1 1 0
five   0 1 0 1
edison   0 1 1 0
addison   0 1 0 1
think   1 0 1 1
the   2 0 2 2
one   1 0 1 1
of   1 0 1 1
illuminating   1 0 1 1
i   1 0 1 1
go   1 0 1 1
for   1 0 1 1
first   1 0 1 1
day   1 0 1 1
companies   1 0 1 1
association   1 0 1 1
""".replace("__", "  ")


def test_recogs_have_two_lines_of_words_an_utterance() -> None:
    lines = recogs(TRANSCRIPTS).splitlines()
    assert lines[2] == "a-2:\tref=['for', 'the', 'first', 'day', 'sir', 'i', 'think']"
    assert lines[3] == "a-2:\thyp=['for', 'the', 'first', 'day', 'i', 'think']"
    assert lines[8:] == ["b-3:\tref=[]", "b-3:\thyp=['uh']", "b-4:\tref=['red']", "b-4:\thyp=[]"]
    assert len(lines) == 2 * len(SAID)


def test_errs_have_counts_errors_in_place_and_words() -> None:
    """Adjacent errors share brackets; words are sorted by errors, then by name, both descending."""
    assert errs(TRANSCRIPTS) == ERRS


def test_more_frequent_errors_are_first() -> None:
    lines = errs([Transcript(str(n), ("a", "b"), ("a", word)) for n, word in enumerate("xyx")]).splitlines()
    at = lines.index("SUBSTITUTIONS: count ref -> hyp")
    assert lines[at + 1 : at + 3] == ["2   b -> x", "1   b -> y"]
    assert lines[-4:] == ["b   0 3 3 0", "x   0 2 0 2", "y   0 1 0 1", "a   3 0 3 3"]


def test_empty_references() -> None:
    assert errs([]).startswith("%WER = 0.00\nErrors: 0 insertions,")
    assert errs([Transcript("a", (), ("uh",))]).startswith("%WER = inf\n")
    assert align((), ()) == []


class StandIn(ModuleType):
    """`icefall.utils` as far as it is used, with icefall's signatures."""

    def store_transcripts(self, filename: Path, texts: list[tuple[str, list[str], list[str]]]) -> None:
        Path(filename).write_text("".join(f"{name}|{ref}|{hyp}\n" for name, ref, hyp in texts))

    def write_error_stats(
        self, f: TextIO, test_set_name: str, results: list[Any], enable_log: bool = True
    ) -> float:
        print(f"{test_set_name} {len(results)} {sum(len(ref) for _, ref, _ in results)}", file=f)
        assert not enable_log
        return math.nan


def test_icefall_writes_the_files_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icefall", ModuleType("icefall"))
    monkeypatch.setitem(sys.modules, "icefall.utils", StandIn("icefall.utils"))
    stored, statistics = by_icefall(TRANSCRIPTS[2:4], "test", "scoring.error_stats: icefall")
    assert stored.splitlines()[0] == "b-1|['go']|['oh', 'go', 'on', 'now']"
    assert statistics == "test 2 5\n"


def test_icefall_itself_writes_the_same() -> None:
    pytest.importorskip("icefall", exc_type=Exception)
    stored, statistics = by_icefall(TRANSCRIPTS, "test", "scoring.error_stats: icefall")
    assert stored == recogs(TRANSCRIPTS)
    # Its aligner may choose another alignment with as few errors; here there is only one.
    assert statistics.splitlines()[:12] == ERRS.splitlines()[:12]


def test_a_missing_icefall_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icefall", None)
    with pytest.raises(
        SamlError, match=r"scoring\.error_stats: icefall wants icefall, which cannot be imp.*saml$"
    ):
        by_icefall(TRANSCRIPTS, "test", "scoring.error_stats: icefall")
