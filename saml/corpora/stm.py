"""NIST's STM, in which TED-LIUM has its transcripts: `talk channel speaker start end <label> words`.

lhotse reads it too, but cannot say which line is broken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lhotse.recipes.utils import normalize_text_tedlium

from saml.runtime.errors import SamlError

# What marks a piece that is not to be scored, in place of words.
IGNORED = "ignore_time_segment_in_scoring"
# What the aligner could not make out.
UNKNOWN = "<unk>"

_ADVICE = "mend the line, or unpack the corpus again"
# `(2)` after a word says how it was pronounced; the others are sounds that are no speech.
_NO_WORDS = re.compile(r"\([^()\s]*\)|<sil>|\{[^{}]*\}|\[[^\[\]]*\]")
_SUFFIX = re.compile(r"(?<=\w) (?='\w)")


@dataclass(frozen=True)
class Line:
    """A line of an STM file: from `start` to `end`, in seconds, somebody says `text` (as it stands there)."""

    talk: str
    start: float
    end: float
    text: str


def read_stm(path: Path) -> Iterator[Line]:
    """The lines of an STM file, comments left out.

    Raises SamlError, naming file and line, for one that lacks a field, has no times, or is of another talk
    than the file.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise SamlError(f"{path}: this is not UTF-8 text; unpack the corpus again") from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith(";;"):
            yield _parse(line, path.stem, f"{path}, line {number}")


def _parse(line: str, talk: str, place: str) -> Line:
    fields = line.split(maxsplit=6)
    if len(fields) < 6 or not fields[5].startswith("<"):
        raise SamlError(
            f"{place}: {line[:60]!r} is not `talk channel speaker start end <label> words`; {_ADVICE}"
        )
    if fields[0] != talk:
        raise SamlError(f"{place}: it is of the talk {fields[0]}, not of {talk}; {_ADVICE}")
    try:
        start, end = float(fields[3]), float(fields[4])
    except ValueError:
        raise SamlError(f"{place}: {fields[3]} and {fields[4]} are no times; {_ADVICE}") from None
    if not 0 <= start < end < float("inf"):
        raise SamlError(f"{place}: it goes from {fields[3]} to {fields[4]} s; {_ADVICE}")
    return Line(talk, start, end, fields[6].strip() if len(fields) > 6 else "")


def words_of(text: str) -> str:
    """What was said: without pronunciations and noises, and with suffixes joined (`it 's` is `it's`).

    As Kaldi's recipe does, by lhotse's `normalize_text_tedlium`, which misses the second of two suffixes.
    """
    plain = " ".join(_NO_WORDS.sub(" ", text).split())
    return " ".join(normalize_text_tedlium(_SUFFIX.sub("", plain), "kaldi").split())
