"""NIST's STM format, of TED-LIUM's transcripts: `talk channel speaker start end <label> words`.

lhotse reads it too, but its errors do not name the line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lhotse.recipes.utils import normalize_text_tedlium

from saml.corpora.tables import read_text
from saml.runtime.errors import SamlError
from saml.runtime.text import plain_line, plain_text

# Marks a segment that is not to be scored, in place of words.
IGNORED = "ignore_time_segment_in_scoring"
# Marks a word that the aligner did not recognise.
UNKNOWN = "<unk>"

_ADVICE = "correct the line, or unpack the corpus again"
# `(2)` after a word is the number of its pronunciation; the others mark noises.
_NO_WORDS = re.compile(r"\([^()\s]*\)|<sil>|\{[^{}]*\}|\[[^\[\]]*\]")
_SUFFIX = re.compile(r"(?<=\w) (?='\w)")


@dataclass(frozen=True)
class Line:
    """A line of an STM file: `start` and `end` in seconds, `text` in the form of `plain_line`."""

    talk: str
    start: float
    end: float
    text: str


def read_stm(path: Path) -> Iterator[Line]:
    """The lines of an STM file, without comments.

    Raises SamlError, naming file and line, for a line that lacks a field, has invalid times, or belongs to
    another talk than the file.
    """
    for number, line in enumerate(read_text(path, "unpack the corpus again").split("\n"), start=1):
        if line.strip() and not line.startswith(";;"):
            yield _parse(plain_line(line), plain_text(path.stem), f"{path}, line {number}")


def _parse(line: str, talk: str, place: str) -> Line:
    fields = line.split(maxsplit=6)
    if len(fields) < 6 or not fields[5].startswith("<"):
        raise SamlError(
            f"{place}: {line[:60]!r} is not `talk channel speaker start end <label> words`; {_ADVICE}"
        )
    if fields[0] != talk:
        raise SamlError(f"{place}: it belongs to the talk {fields[0]}, not to {talk}; {_ADVICE}")
    try:
        start, end = float(fields[3]), float(fields[4])
    except ValueError:
        raise SamlError(f"{place}: {fields[3]} and {fields[4]} are not times; {_ADVICE}") from None
    if not 0 <= start < end < float("inf"):
        raise SamlError(f"{place}: it lasts from {fields[3]} to {fields[4]} s; {_ADVICE}")
    return Line(talk, start, end, fields[6].strip() if len(fields) > 6 else "")


def words_of(text: str) -> str:
    """The spoken words: without pronunciations and noises, suffixes joined (`it 's` becomes `it's`).

    As in Kaldi's recipe, by lhotse's `normalize_text_tedlium`, which misses the second of two suffixes.
    """
    plain = plain_line(_NO_WORDS.sub(" ", plain_text(text)))
    return " ".join(normalize_text_tedlium(_SUFFIX.sub("", plain), "kaldi").split())
