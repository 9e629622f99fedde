"""Checks of utterances, recordings and roles before any computation.

`on_bad` is the config's `corpus.on_bad_utterance`: "error" stops at the first bad utterance, "drop" leaves
it out and lists it in dropped.tsv.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from lhotse import MonoCut, Recording, RecordingSet, SupervisionSet

from saml.audio.reader import Unusable
from saml.corpora.audio import open_recording, read_recording
from saml.corpora.duplicates import identical, report_identical
from saml.corpora.manifests import file_of
from saml.corpora.utterances import POOLS as POOLS
from saml.features.log_mel import SHORTEST_SECONDS
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically
from saml.runtime.text import plain_line

# Durations in a manifest are rounded; a file that differs by more is another file.
_SECONDS_TOLERANCE = 0.2


class Dropped(NamedTuple):
    """A row of dropped.tsv."""

    utterance: str
    speaker: str
    file: str
    reason: str


# The output of a corpus: recordings, supervisions, and the utterances left out.
Prepared = tuple[RecordingSet, SupervisionSet, list[Dropped]]


class Listed(Protocol):
    """The metadata of an utterance before its audio is read."""

    @property
    def utterance(self) -> str:
        """Its id."""

    @property
    def speaker(self) -> str:
        """Its speaker."""

    @property
    def path(self) -> Path:
        """Its audio file."""

    @property
    def seconds(self) -> float | None:
        """Its duration according to the corpus, if given."""


Row = TypeVar("Row", bound=Listed)


class Read(NamedTuple, Generic[Row]):
    """An utterance, its recording, and the checksum of its samples ("" where only the header was read)."""

    row: Row
    recording: Recording
    checksum: str


def read_recordings(
    rows: Iterable[Row], on_bad: str, converted: Callable[[Row], Path], *, headers: bool = False
) -> tuple[list[Read[Row]], list[Dropped]]:
    """The recordings that can be used as speech, and the utterances left out.

    Args:
        rows: the utterances.
        on_bad: "error" or "drop".
        converted: a row -> the file to write where its own is not 16 kHz mono.
        headers: of files that are used in place only headers are read, because the same stage decodes them
            later, for features.

    Raises:
        SamlError: the first file that is missing, truncated, not audio or without speech, unless bad
            utterances are dropped.
    """
    kept: list[Read[Row]] = []
    dropped: list[Dropped] = []
    for row in rows:
        try:
            recording = open_recording(row.path, row.utterance) if headers else None
            checksum = ""
            if recording is None:
                recording, audio = read_recording(row.path, row.utterance, converted(row))
                checksum = audio.checksum
                warn(row.path, audio.warning)
            reason = _wrong_length(row, recording.duration)
        except Unusable as error:
            reason = f"the file {error.reason}"
        if reason is None:
            kept.append(Read(row, recording, checksum))
        else:
            reject(Dropped(row.utterance, row.speaker, str(row.path), reason), on_bad, dropped)
    return kept, dropped


def copies_of(kept: Iterable[Read[Row]]) -> list[list[str]]:
    """The utterances of the same recording, in groups; they are named in the log."""
    kept = list(kept)
    copies = identical({read.row.utterance: read.checksum for read in kept})
    speakers = {read.row.utterance: read.row.speaker for read in kept}
    report_identical(copies, speakers, "they stay in the same part")
    return copies


def warn(path: Path, warning: str | None) -> None:
    """Write a warning about a file to the log."""
    if warning is not None:
        print(f"warning: {path}: the file {warning}", file=sys.stderr, flush=True)


def check_cuts(
    cuts: Iterable[MonoCut],
    *,
    min_seconds: float,
    max_seconds: float,
    model_seconds: float | None,
    wrong_text: Callable[[str, float], str | None],
    on_bad: str,
) -> tuple[list[MonoCut], list[Dropped]]:
    """The cuts that a model can process, and those left out.

    Args:
        cuts: one supervision each.
        min_seconds: shorter ones are bad.
        max_seconds: longer ones are bad.
        model_seconds: the longest that the model takes; None: any length.
        wrong_text: a transcript, and the seconds that it is spoken in -> why the model cannot be trained on
            it, or None (see `saml.models.text_limits`).
        on_bad: "error" or "drop".

    Raises:
        SamlError: the first utterance that is too short, too long, or whose transcript is empty or wrong,
            unless `on_bad` is "drop".
    """
    kept: list[MonoCut] = []
    dropped: list[Dropped] = []
    shortest = max(min_seconds, SHORTEST_SECONDS)
    for cut in cuts:
        reason = _wrong_duration(cut, shortest, max_seconds, model_seconds) or _wrong_text(cut, wrong_text)
        if reason is None:
            kept.append(cut)
        else:
            reject(Dropped(cut.id, cut.supervisions[0].speaker, file_of(cut), reason), on_bad, dropped)
    return kept, dropped


class BadUtterance(SamlError):
    """An utterance that cannot be used, and could be left out.

    Attributes:
        problem: what is wrong, without advice.
        remedy: what its user can do about it, but for leaving it out: commands differ in how to say that.
    """

    def __init__(self, problem: str, remedy: str = "correct it") -> None:
        super().__init__(
            f"{problem}; {remedy}, or set corpus.on_bad_utterance to drop to leave such utterances out"
        )
        self.problem = problem
        self.remedy = remedy


def reject(row: Dropped, on_bad: str, dropped: list[Dropped]) -> None:
    """List an utterance as left out, or raise BadUtterance for it, as `on_bad` says."""
    if on_bad == "drop":
        dropped.append(row)
        return
    if on_bad != "error":
        raise SamlError(f"corpus.on_bad_utterance: {on_bad!r} is neither error nor drop")
    raise BadUtterance(f"utterance {row.utterance} of speaker {row.speaker} ({row.file}): {row.reason}")


def check_target(speaker: str, supervisions: SupervisionSet) -> None:
    """Raise SamlError, naming the role, for a target speaker who belongs to a pool."""
    for supervision in supervisions:
        role = (supervision.custom or {}).get("role")
        if supervision.speaker == speaker and role in POOLS:
            raise SamlError(
                f"speaker {speaker} has the role {role} and cannot be a target or tuning speaker too; remove "
                f"{speaker} from target_speakers and tuning.speakers, or from role {role}"
            )


def check_roles(corpus: str, supervisions: SupervisionSet) -> None:
    """Raise SamlError, naming the roles and an utterance of each, for a speaker with two roles."""
    first: dict[str, tuple[object, str]] = {}
    for supervision in supervisions:
        role = (supervision.custom or {}).get("role")
        other, utterance = first.setdefault(supervision.speaker, (role, supervision.id))
        if role != other:
            raise SamlError(
                f"corpus {corpus}: speaker {supervision.speaker} has two roles, {other} (utterance "
                f"{utterance}) and {role} (utterance {supervision.id}); give each speaker one"
            )


def write_dropped(rows: Iterable[Dropped], path: Path) -> None:
    """Write dropped.tsv atomically: a header, then a row for each utterance left out."""
    lines = [Dropped._fields, *rows]
    text = "".join("\t".join(" ".join(field.split()) for field in line) + "\n" for line in lines)
    write_atomically(path, text.encode())


def _wrong_length(row: Listed, actual: float) -> str | None:
    if row.seconds is None:
        return None
    if abs(actual - row.seconds) <= _SECONDS_TOLERANCE + 0.01 * row.seconds:
        return None
    return f"the file contains {actual:.2f} s, but the manifest says {row.seconds:g} s"


def _wrong_duration(
    cut: MonoCut, min_seconds: float, max_seconds: float, model_seconds: float | None
) -> str | None:
    if cut.duration < min_seconds:
        return f"lasts {cut.duration:.2f} s, less than {min_seconds:g} s (corpus.min_seconds)"
    if model_seconds is not None and cut.duration > model_seconds:
        return f"lasts {cut.duration:.2f} s, longer than the model takes ({model_seconds:g} s)"
    if cut.duration > max_seconds:
        return f"lasts {cut.duration:.2f} s, longer than {max_seconds:g} s (corpus.max_seconds)"
    return None


def _wrong_text(cut: MonoCut, wrong_text: Callable[[str, float], str | None]) -> str | None:
    text = cut.supervisions[0].text or ""
    return wrong_text(text, cut.duration) if plain_line(text) else "the transcript is empty"
