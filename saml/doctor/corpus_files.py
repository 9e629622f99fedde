"""What a corpus of recordings lists, for `saml doctor`: read as by the first jobs, but without the audio."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lhotse import SupervisionSegment, SupervisionSet

from saml.corpora import folder, librispeech, speechocean762, tedlium3
from saml.corpora.role_assignment import assign_roles, part_of_target
from saml.corpora.talks import person
from saml.corpora.utterance_checks import POOLS, check_target
from saml.corpora.utterances import Utterance


@dataclass(frozen=True)
class Listing:
    """The utterances of a corpus.

    `utterances` are those that the first job reads: all with a role, of a folder all that its manifest names.
    `of_target` gives those of a target or tuning speaker; it raises SamlError where the corpus lacks the
    speaker, or the speaker has another role.
    """

    root: Path
    utterances: Sequence[Utterance]
    of_target: Callable[[str], Sequence[Utterance]]

    def without(self, unusable: set[Path]) -> "Listing":
        """The same without the utterances of these files."""

        def of_target(speaker: str) -> list[Utterance]:
            return [row for row in self.of_target(speaker) if row.path not in unusable]

        kept = [row for row in self.utterances if row.path not in unusable]
        return replace(self, utterances=kept, of_target=of_target)


def listing(corpus: Mapping[str, Any]) -> Listing:
    """What the corpus of the config's section `corpus` lists.

    Raises:
        SamlError: the corpus, a part of it or a named speaker is missing, a role cannot be filled, or a line
            of the manifest or of a transcript is invalid.
        KeyError: `READERS` has no such corpus.
    """
    name = corpus["name"]
    return READERS[name](corpus)


def _folder(corpus: Mapping[str, Any]) -> Listing:
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

    return Listing(folder.root_folder(own), rows, of_target)


def _librispeech(corpus: Mapping[str, Any]) -> Listing:
    own = corpus["librispeech"]
    root = librispeech.root_folder(own)

    @cache
    def speakers_of(part: str) -> Sequence[str]:
        return librispeech.speakers(root, part)

    rows = [
        row
        for one in assign_roles("librispeech", own, speakers_of)
        for row in librispeech.read_speaker(root / one.part / one.speaker, one.role)
    ]
    with_role = _one_for_each_speaker(rows)

    def of_target(speaker: str) -> list[Utterance]:
        check_target(speaker, with_role)
        part = part_of_target("librispeech", own, speaker, speakers_of)
        return librispeech.read_speaker(root / part / speaker, "target")

    return Listing(root, rows, of_target)


def _tedlium3(corpus: Mapping[str, Any]) -> Listing:
    own = corpus["tedlium3"]
    root = tedlium3.root_folder(own)

    @cache
    def talks_of(part: str) -> Sequence[str]:
        return tedlium3.talks(root, own, part)

    assigned = assign_roles("tedlium3", own, talks_of, person)
    rows = list(
        _segments([tedlium3.place_of(root, own, one.part, one.speaker, one.role) for one in assigned])
    )
    with_role = _one_for_each_speaker(rows)

    def of_target(speaker: str) -> list[Utterance]:
        check_target(speaker, with_role)
        tedlium3.refuse_known_person(speaker, with_role)
        part = part_of_target("tedlium3", own, speaker, talks_of)
        return list(_segments([tedlium3.place_of(root, own, part, speaker, "target")]))

    return Listing(root, rows, of_target)


def _speechocean762(corpus: Mapping[str, Any]) -> Listing:
    own = corpus["speechocean762"]
    root = speechocean762.root_folder(own)

    @cache
    def table_of(part: str) -> Sequence[Utterance]:
        return speechocean762.read_part(root, part)

    def speakers_of(part: str) -> Sequence[str]:
        return sorted({row.speaker for row in table_of(part)})

    rows = [
        row
        for one in assign_roles("speechocean762", own, speakers_of)
        for row in speechocean762.of_speaker(table_of(one.part), one.speaker, one.role)
    ]
    with_role = _one_for_each_speaker(rows)

    def of_target(speaker: str) -> list[Utterance]:
        check_target(speaker, with_role)
        part = part_of_target("speechocean762", own, speaker, speakers_of)
        return speechocean762.of_speaker(table_of(part), speaker, "target")

    return Listing(root, rows, of_target)


READERS: dict[str, Callable[[Mapping[str, Any]], Listing]] = {
    "folder": _folder,
    "librispeech": _librispeech,
    "tedlium3": _tedlium3,
    "speechocean762": _speechocean762,
}


def _segments(places: Sequence[tedlium3.Place]) -> Iterator[Utterance]:
    """The segments of talks as utterances, each with the file of its talk."""
    files = {place.talk: place.sph for place in places}
    for segment in tedlium3.read_segments(places)[0]:
        file = files[segment.talk]
        yield Utterance(segment.utterance, segment.talk, file, segment.text, None, segment.role)


def _one_for_each_speaker(rows: Sequence[Utterance]) -> SupervisionSet:
    """The roles in the form in which jobs read them: a supervision for each speaker of a pool."""
    first = {row.speaker: row for row in rows if row.role in POOLS}
    return SupervisionSet.from_segments(
        # The times are not looked at.
        SupervisionSegment(row.utterance, row.utterance, 0.0, 1.0, speaker=name, custom={"role": row.role})
        for name, row in first.items()
    )
