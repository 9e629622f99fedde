"""Checks of utterances for `saml doctor`: their files and transcripts. No audio is decoded."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from saml.corpora.utterances import Utterance
from saml.doctor.machine import Line, Status
from saml.runtime.errors import SamlError
from saml.stages.prepare import usable_cuts

Config = Mapping[str, Any]

_RATE = 16_000


def lost_files(paths: Iterable[Path]) -> dict[Path, str]:
    """The files that cannot be audio, with the reason: missing, empty, not readable or no file."""
    reasons = ((path, _reason(path)) for path in dict.fromkeys(paths))
    return {path: reason for path, reason in reasons if reason is not None}


def about_files(config: Config, lost: Mapping[Path, str]) -> Iterator[Line]:
    """A line for each kind of lost file, with their number and the first."""
    status, otherwise = _consequence(config)
    for reason, count in Counter(lost.values()).items():
        first = next(path for path in lost if lost[path] == reason)
        advice = f"add the files, or remove their lines from the manifest{otherwise}"
        finding = f"{count} file{'s are' if count > 1 else ' is'} {reason}, the first: {first}"
        yield Line(status, "corpus", finding, advice)


def split_by_text(config: Config, rows: Sequence[Utterance]) -> tuple[list[Utterance], list[Line]]:
    """The utterances whose transcripts the model can learn, and a line about the others if there are any."""
    corpus = {**config["corpus"], "on_bad_utterance": "drop"}  # to have all of them, not the first
    settings = {"corpus": corpus, "model": config["model"], "ctc": False}  # durations are not known
    try:
        _, bad = usable_cuts([_cut(row, corpus) for row in rows], settings)
    except SamlError:  # a checkpoint that cannot be opened, which has a check of its own
        return list(rows), []
    if not bad:
        return list(rows), []
    status, otherwise = _consequence(config)
    first = f"{bad[0].utterance} of speaker {bad[0].speaker} ({bad[0].file}): {bad[0].reason}"
    finding = f"{len(bad)} utterance{'s' * (len(bad) > 1)} cannot be used, the first: {first}"
    unusable = {row.utterance for row in bad}
    line = Line(status, "corpus", finding, f"correct the transcripts{otherwise}")
    return [row for row in rows if row.utterance not in unusable], [line]


def _reason(path: Path) -> str | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte in the name
        return "missing"
    except OSError as error:
        return f"not readable ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return "no regular file"
    if not os.access(path, os.R_OK):
        return "not readable"
    return None if found.st_size else "empty"


def _consequence(config: Config) -> tuple[Status, str]:
    """What unusable utterances mean for a run, and the end of the advice about them."""
    if config["corpus"]["on_bad_utterance"] == "drop":
        return "warn", "; a run leaves them out, as corpus.on_bad_utterance is drop"
    return "fail", ", or set corpus.on_bad_utterance to drop to leave them out"


def _cut(row: Utterance, corpus: Mapping[str, Any]) -> MonoCut:
    """The cut that a job would make of an utterance, of some length that is allowed."""
    seconds = min(max(1.0, corpus["min_seconds"]), corpus["max_seconds"])
    file = AudioSource(type="file", channels=[0], source=str(row.path))
    recording = Recording(row.utterance, [file], _RATE, round(seconds * _RATE), seconds)
    said = SupervisionSegment(row.utterance, row.utterance, 0.0, seconds, text=row.text, speaker=row.speaker)
    return MonoCut(row.utterance, 0.0, seconds, 0, supervisions=[said], recording=recording)
