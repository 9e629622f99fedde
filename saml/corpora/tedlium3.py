"""TED-LIUM 3 in its unpacked layout: `<distribution>/<part>/{stm,sph}/<talk>.{stm,sph}`. A talk is a speaker.

Both distributions, `legacy` and `speaker-adaptation`, divide talks into train, dev and test. Recordings are
whole talks, supervisions are segments of them. Segments that are not to be scored, contain words unknown to
the aligner (`<unk>`), or have no words, are left out and counted in the log; they do not count as bad input.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from saml.corpora.listing import stored, visible
from saml.corpora.registry import folder_name
from saml.corpora.role_assignment import assign_roles, corpus_folder, part_of_target
from saml.corpora.stm import IGNORED, UNKNOWN, read_stm, words_of
from saml.corpora.talks import person
from saml.corpora.utterance_checks import (
    POOLS,
    Dropped,
    Prepared,
    check_target,
    read_recordings,
    reject,
)
from saml.corpora.utterances import Utterance, limit_heldout, pool_parts, with_progress
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress
from saml.runtime.text import plain_text

ROOT_VARIABLE = "SAML_TEDLIUM_ROOT"
# The folder inside the archive of the corpus.
ARCHIVE = "TEDLIUM_release-3"
_ADVICE = "saml download tedlium3 --root <folder> (or lhotse download tedlium <folder>)"
# Seconds that a segment may end after its audio, because times are rounded; it is cut there.
_OVERHANG = 0.5


@dataclass(frozen=True)
class Place:
    """A talk, the role of its speaker, and its STM and SPH files."""

    talk: str
    role: str
    stm: Path
    sph: Path


@dataclass(frozen=True)
class Segment:
    """A segment of a talk with its words; `start` and `end` in seconds of the recording `sph`."""

    utterance: str
    talk: str
    role: str
    start: float
    end: float
    text: str
    sph: Path


def prepare_corpus(settings: Mapping[str, Any], audio: Path) -> Prepared:
    """The talks of all speakers with a role. Files that are not 16 kHz mono are converted into `audio`.

    Raises SamlError when a part is missing, a role cannot be filled, a transcript is invalid, or (unless bad
    utterances are dropped) a file cannot be used.
    """
    own = settings["tedlium3"]
    root = root_folder(own)
    assigned = assign_roles("tedlium3", own, lambda part: talks(root, own, part), person)
    places = [place_of(root, own, one.part, one.speaker, one.role) for one in assigned]
    return _manifests(places, own, settings["on_bad_utterance"], audio)


def prepare_speaker(
    settings: Mapping[str, Any],
    speaker: str,
    recordings: RecordingSet,
    supervisions: SupervisionSet,
    audio: Path,
) -> Prepared:
    """One target talk; `recordings` is not used.

    Raises SamlError when no part for target speakers contains the talk or its speaker has another role, and
    as `prepare_corpus`.
    """
    own = settings["tedlium3"]
    check_target(speaker, supervisions)
    refuse_known_person(speaker, supervisions)
    root = root_folder(own)
    part = part_of_target("tedlium3", own, speaker, lambda part: talks(root, own, part))
    place = place_of(root, own, part, speaker, "target")
    return _manifests([place], own, settings["on_bad_utterance"], audio, headers=True)


def root_folder(settings: Mapping[str, Any]) -> Path:
    """The folder of the distributions. Raises SamlError with instructions when there is none."""
    return corpus_folder("tedlium3", settings, variable=ROOT_VARIABLE, archive=ARCHIVE, advice=_ADVICE)


def speakers_of(settings: Mapping[str, Any], part: str) -> list[str]:
    """The talks of a part; raises SamlError as `root_folder` and `talks` do."""
    return talks(root_folder(settings), settings, part)


def talks(root: Path, settings: Mapping[str, Any], part: str) -> list[str]:
    """The talks of a part, by name.

    Raises SamlError with instructions when the part is missing.
    """
    folder = _part_folder(root, settings, part) / "stm"
    found = sorted(plain_text(path.stem) for path in visible(folder.glob("*.stm")))
    if not found:
        raise SamlError(
            f"corpus tedlium3: there are no transcripts in {folder}; correct corpus.tedlium3.distribution or "
            f"corpus.tedlium3.parts, or get the corpus: {_ADVICE}"
        )
    return found


def refuse_known_person(talk: str, supervisions: SupervisionSet) -> None:
    """Raise SamlError for a target talk whose speaker has a role by another talk."""
    for supervision in supervisions:
        role = (supervision.custom or {}).get("role")
        if role in POOLS and person(supervision.speaker) == person(talk):
            raise SamlError(
                f"speaker {talk}: {supervision.speaker}, with the role {role}, is a talk of the same person; "
                f"add {talk} to corpus.tedlium3.reserved"
            )


def _part_folder(root: Path, settings: Mapping[str, Any], part: str) -> Path:
    return root / str(settings["distribution"]) / part


def place_of(root: Path, settings: Mapping[str, Any], part: str, talk: str, role: str) -> Place:
    """Where the files of a talk are; they need not exist."""
    folder = _part_folder(root, settings, part)
    return Place(talk, role, _file(root, folder, "stm", talk), _file(root, folder, "sph", talk))


def _file(root: Path, folder: Path, kind: str, talk: str) -> Path:
    """A talk's STM or SPH file, which may exist in `data`, beside the distributions, only."""
    path = stored(folder / kind, f"{talk}.{kind}")
    beside = stored(root / "data" / kind, f"{talk}.{kind}")
    return beside if not path.exists() and beside.exists() else path


def _manifests(
    places: Sequence[Place], settings: Mapping[str, Any], on_bad: str, audio: Path, *, headers: bool = False
) -> Prepared:
    """Recordings of the usable talks, and supervisions of their segments."""
    seed = settings["seed"]
    found, left_out = read_segments(places)
    counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none"
    print(f"segments: {len(found)} with words; left out: {counts}", file=sys.stderr, flush=True)
    segments = limit_heldout(found, settings["heldout_utterances"], seed)
    used_talks = {segment.talk for segment in segments}
    files = [
        Utterance(place.talk, place.talk, place.sph, "", None, place.role)
        for place in places
        if place.talk in used_talks
    ]
    with Progress("checking audio", len(files)) as progress:
        kept, dropped = read_recordings(
            with_progress(files, progress),
            on_bad,
            lambda file: audio / f"{folder_name(file.speaker)}.flac",
            headers=headers,
        )
    recordings = {read.row.speaker: read.recording for read in kept}
    within = _within(segments, recordings, on_bad, dropped)
    parts = pool_parts(within, settings["dev_share"], seed)
    spoken = [
        _supervision(segment, recordings[segment.talk], parts.get(segment.utterance)) for segment in within
    ]
    used = {supervision.recording_id for supervision in spoken}
    return (
        RecordingSet.from_items([recording for recording in recordings.values() if recording.id in used]),
        SupervisionSet.from_items(spoken),
        dropped,
    )


def read_segments(places: Iterable[Place]) -> tuple[list[Segment], Counter[str]]:
    """The segments of the talks, and the numbers of those left out, by reason. No audio is read.

    Raises SamlError, naming file and line, for an invalid line or two segments of the same times.
    """
    segments: dict[str, Segment] = {}
    left_out: Counter[str] = Counter()
    for place in places:
        for line in read_stm(place.stm):
            text = words_of(line.text)
            if line.text == IGNORED:
                left_out["not to be scored"] += 1
            elif UNKNOWN in line.text:
                left_out[f"with {UNKNOWN}"] += 1
            elif not text:
                left_out["without words"] += 1
            else:
                # Kaldi's utterance id, which sorts by time; lhotse's counts lines.
                name = f"{place.talk}-{round(100 * line.start):07d}-{round(100 * line.end):07d}"
                if name in segments:
                    raise SamlError(
                        f"{place.stm}: two lines last from {line.start:g} to {line.end:g} s; remove one"
                    )
                segments[name] = Segment(name, place.talk, place.role, line.start, line.end, text, place.sph)
    return list(segments.values()), left_out


def _within(
    segments: Iterable[Segment], recordings: Mapping[str, Recording], on_bad: str, dropped: list[Dropped]
) -> list[Segment]:
    """The segments within their recordings; the others are bad utterances."""
    within = []
    for segment in segments:
        recording = recordings.get(segment.talk)
        if recording is None:
            continue  # the talk itself is among `dropped`
        if segment.start >= recording.duration or segment.end > recording.duration + _OVERHANG:
            reason = f"it ends at {segment.end:g} s, and the audio at {recording.duration:g} s"
            reject(Dropped(segment.utterance, segment.talk, str(segment.sph), reason), on_bad, dropped)
        else:
            within.append(segment)
    return within


def _supervision(segment: Segment, recording: Recording, part: str | None) -> SupervisionSegment:
    end = min(segment.end, recording.duration)
    custom = {"role": segment.role} | ({"part": part} if part else {})
    # Messages name the file of the corpus, not the copy that was converted.
    if str(segment.sph) != recording.sources[0].source:
        custom["file"] = str(segment.sph)
    return SupervisionSegment(
        id=segment.utterance,
        recording_id=recording.id,
        start=segment.start,
        duration=round(end - segment.start, ndigits=8),
        channel=0,
        text=segment.text,
        language="English",
        speaker=segment.talk,
        custom=custom,
    )
