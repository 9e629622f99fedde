"""LibriSpeech in its official layout: `<part>/<speaker>/<chapter>/` with FLAC files and one .trans.txt.

Roles are assigned by `role_assignment`. A target speaker is read only when requested: another one changes
nothing else.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lhotse import RecordingSet, SupervisionSet

from saml.corpora.listing import stored, visible
from saml.corpora.role_assignment import assign_roles, corpus_folder, part_of_target
from saml.corpora.tables import read_text
from saml.corpora.utterance_checks import Prepared, check_target
from saml.corpora.utterance_manifests import utterance_manifests
from saml.corpora.utterances import Utterance
from saml.runtime.errors import SamlError
from saml.runtime.text import plain_line

ROOT_VARIABLE = "SAML_LIBRISPEECH_ROOT"
# The folder inside the archives of the corpus.
ARCHIVE = "LibriSpeech"


def prepare_corpus(settings: Mapping[str, Any], audio: Path) -> Prepared:
    """The utterances of all speakers with a role. Files that are not 16 kHz mono are converted into `audio`.

    Raises SamlError when a part is missing, a role cannot be filled, a transcript is invalid, or (unless bad
    utterances are dropped) a file cannot be used.
    """
    own = settings["librispeech"]
    root = root_folder(own)
    rows = [
        row
        for assigned in assign_roles("librispeech", own, lambda part: speakers(root, part))
        for row in read_speaker(root / assigned.part / assigned.speaker, assigned.role)
    ]
    return utterance_manifests(rows, settings, "librispeech", audio, language="English")


def prepare_speaker(
    settings: Mapping[str, Any],
    speaker: str,
    recordings: RecordingSet,
    supervisions: SupervisionSet,
    audio: Path,
) -> Prepared:
    """The utterances of one target speaker; `recordings` is not used. The audio is not decoded here.

    Raises SamlError when no part for target speakers contains the speaker or the speaker has another role,
    and as `prepare_corpus`.
    """
    own = settings["librispeech"]
    check_target(speaker, supervisions)
    root = root_folder(own)
    part = part_of_target("librispeech", own, speaker, lambda part: speakers(root, part))
    rows = read_speaker(root / part / speaker, "target")
    return utterance_manifests(rows, settings, "librispeech", audio, language="English", headers=True)


def root_folder(settings: Mapping[str, Any]) -> Path:
    """The folder of the parts. Raises SamlError with instructions when there is none."""
    advice = "saml download librispeech --root <folder> --parts train-clean-100 train-clean-360"
    return corpus_folder("librispeech", settings, variable=ROOT_VARIABLE, archive=ARCHIVE, advice=advice)


def speakers_of(settings: Mapping[str, Any], part: str) -> list[str]:
    """The speakers of a part; raises SamlError as `root_folder` and `speakers` do."""
    return speakers(root_folder(settings), part)


def speakers(root: Path, part: str) -> list[str]:
    """The speakers of a part, in numerical order: folders whose names are numbers.

    Raises SamlError with instructions when the part is missing.
    """
    folder = root / part
    entries = visible(folder.iterdir()) if folder.is_dir() else []
    found = [path.name for path in entries if path.name.isdecimal() and path.is_dir()]
    if not found:
        above = root.parent if root.name == ARCHIVE else root
        raise SamlError(
            f"corpus librispeech: the part {part} is not in {root}; to get it: saml download librispeech "
            f"--root {above} --parts {part} (all parts, 60 GB: lhotse download librispeech {above})"
        )
    return sorted(found, key=_number)


def read_speaker(folder: Path, role: str) -> list[Utterance]:
    """The utterances in a speaker's folder, chapter by chapter.

    Raises SamlError, naming file and line, when a line is not an utterance of its chapter or repeats one, and
    when there are no utterances.
    """
    chapters = [path for path in visible(folder.iterdir()) if path.is_dir()]
    found = [path for chapter in chapters for path in visible(chapter.glob("*.trans.txt"))]
    transcripts = sorted(found, key=lambda path: _number(path.parent.name))
    rows = [row for path in transcripts for row in _read_chapter(path, folder.name, role)]
    if not rows:
        raise SamlError(f"{folder}: there is no transcript (<chapter>/*.trans.txt); unpack the corpus again")
    return rows


def _read_chapter(path: Path, speaker: str, role: str) -> Iterator[Utterance]:
    chapter = f"{speaker}-{path.parent.name}-"
    seen: set[str] = set()
    for number, line in enumerate(read_text(path, "unpack the corpus again").split("\n"), start=1):
        utterance, _, text = plain_line(line).partition(" ")
        if not utterance:
            continue
        if not utterance.startswith(chapter) or not text:
            raise SamlError(
                f"{path}, line {number}: {line[:60]!r} is not {chapter}<number> with its words; "
                "unpack the corpus again"
            )
        if utterance in seen:
            raise SamlError(f"{path}, line {number}: utterance {utterance} is listed twice; remove one")
        seen.add(utterance)
        yield Utterance(utterance, speaker, stored(path.parent, f"{utterance}.flac"), text, None, role)


def _number(name: str) -> tuple[int, str]:
    """A sort key by number: 19 before 103."""
    return len(name), name
