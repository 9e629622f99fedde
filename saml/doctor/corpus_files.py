"""What a corpus of recordings lists, for `saml doctor`: read as by the first jobs, but without the audio."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lhotse import SupervisionSegment, SupervisionSet

from saml.corpora import folder, librispeech, speechocean762, tedlium3
from saml.corpora.role_assignment import AssignedSpeaker, assign_roles, part_of_target
from saml.corpora.talks import person
from saml.corpora.utterance_checks import POOLS, check_target
from saml.corpora.utterances import Utterance


@dataclass(frozen=True)
class CorpusListing:
    """The utterances of a corpus.

    `utterances` are those that the first job reads: all with a role, of a folder all that its manifest names.
    `of_target` gives those of a target or tuning speaker; it raises SamlError where the corpus lacks the
    speaker, or the speaker has another role.
    """

    root: Path
    utterances: Sequence[Utterance]
    of_target: Callable[[str], Sequence[Utterance]]

    def without(self, unusable: set[Path]) -> "CorpusListing":
        """The same without the utterances of these files."""

        def of_target(speaker: str) -> list[Utterance]:
            return [row for row in self.of_target(speaker) if row.path not in unusable]

        kept = [row for row in self.utterances if row.path not in unusable]
        return replace(self, utterances=kept, of_target=of_target)


def listing(corpus: Mapping[str, Any]) -> CorpusListing:
    """What the corpus of the config's section `corpus` lists.

    Raises:
        SamlError: the corpus, a part of it or a named speaker is missing, a role cannot be filled, or a line
            of the manifest or of a transcript is invalid.
        KeyError: `READERS` has no such corpus.
    """
    name = corpus["name"]
    return READERS[name](corpus)


def _folder(corpus: Mapping[str, Any]) -> CorpusListing:
    own = corpus["folder"]
    listed, _ = folder.list_rows(own, corpus["on_bad_utterance"])
    rows = folder.assign_roles(listed, own["roles"] or {})
    with_role = _one_for_each_speaker(rows)

    def of_target(speaker: str) -> list[Utterance]:
        check_target(speaker, with_role)
        found = [row for row in rows if row.speaker == speaker]
        if not found:
            raise folder.no_utterances(speaker, (row.speaker for row in rows))
        return found

    return CorpusListing(folder.root_folder(own), rows, of_target)


def _librispeech(corpus: Mapping[str, Any]) -> CorpusListing:
    root = librispeech.root_folder(corpus["librispeech"])
    return _in_parts(
        corpus,
        root,
        lambda part: librispeech.speakers(root, part),
        lambda one: librispeech.read_speaker(root / one.part / one.speaker, one.role),
    )


def _tedlium3(corpus: Mapping[str, Any]) -> CorpusListing:
    own = corpus["tedlium3"]
    root = tedlium3.root_folder(own)
    return _in_parts(
        corpus,
        root,
        lambda part: tedlium3.talks(root, own, part),
        lambda one: _segments(tedlium3.place_of(root, own, one.part, one.speaker, one.role)),
        person,
        tedlium3.refuse_known_person,
    )


def _speechocean762(corpus: Mapping[str, Any]) -> CorpusListing:
    root = speechocean762.root_folder(corpus["speechocean762"])

    @cache
    def table_of(part: str) -> Sequence[Utterance]:
        return speechocean762.read_part(root, part)

    return _in_parts(
        corpus,
        root,
        lambda part: sorted({row.speaker for row in table_of(part)}),
        lambda one: speechocean762.of_speaker(table_of(one.part), one.speaker, one.role),
    )


def _in_parts(
    corpus: Mapping[str, Any],
    root: Path,
    speakers_of: Callable[[str], Sequence[str]],
    read: Callable[[AssignedSpeaker], Sequence[Utterance]],
    identify: Callable[[str], str] = str,
    refuse: Callable[[str, SupervisionSet], None] = lambda speaker, with_role: None,
) -> CorpusListing:
    """The listing of a corpus that is published in parts.

    Args:
        corpus: the config's section.
        root: the folder of the parts.
        speakers_of: part -> its speakers; asked once for each part.
        read: a speaker with role and part -> the utterances.
        identify: speaker -> person, where one person can be several speakers.
        refuse: raises SamlError for a target speaker whom the corpus itself excludes.
    """
    name, speakers_of = corpus["name"], cache(speakers_of)
    rows = [row for one in assign_roles(name, corpus[name], speakers_of, identify) for row in read(one)]
    with_role = _one_for_each_speaker(rows)

    def of_target(speaker: str) -> Sequence[Utterance]:
        check_target(speaker, with_role)
        refuse(speaker, with_role)
        part = part_of_target(name, corpus[name], speaker, speakers_of)
        return read(AssignedSpeaker(speaker, "target", part))

    return CorpusListing(root, rows, of_target)


READERS: dict[str, Callable[[Mapping[str, Any]], CorpusListing]] = {
    "folder": _folder,
    "librispeech": _librispeech,
    "tedlium3": _tedlium3,
    "speechocean762": _speechocean762,
}


def _segments(place: tedlium3.Place) -> list[Utterance]:
    """The segments of a talk as utterances, each with the talk's file."""
    segments, _ = tedlium3.read_segments([place])
    return [
        Utterance(segment.utterance, segment.talk, place.sph, segment.text, None, segment.role)
        for segment in segments
    ]


def _one_for_each_speaker(rows: Sequence[Utterance]) -> SupervisionSet:
    """The roles in the form in which jobs read them: a supervision for each speaker of a pool."""
    first = {row.speaker: row for row in rows if row.role in POOLS}
    return SupervisionSet.from_segments(
        # The times are not looked at.
        SupervisionSegment(row.utterance, row.utterance, 0.0, 1.0, speaker=name, custom={"role": row.role})
        for name, row in first.items()
    )
