"""speechocean762 in its official layout: `<part>/{wav.scp,text,utt2spk}` as of Kaldi; parts train and test.

`wav.scp` decides which file belongs to an utterance. The text is the prompt; some speakers read something
slightly different. A target speaker is read only when requested: another one changes nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lhotse import RecordingSet, SupervisionSet

from saml.corpora.listing import stored
from saml.corpora.role_assignment import assign_roles, corpus_folder, part_of_target
from saml.corpora.tables import read_text
from saml.corpora.utterance_checks import Prepared, check_target
from saml.corpora.utterance_manifests import utterance_manifests
from saml.corpora.utterances import Utterance
from saml.runtime.errors import SamlError
from saml.runtime.text import plain_line

ROOT_VARIABLE = "SAML_SPEECHOCEAN762_ROOT"
# The folder inside the archive of the corpus.
ARCHIVE = "speechocean762"
_ADVICE = "openslr.org/101 (speechocean762.tar.gz, 520 MB)"
_AGAIN = "unpack the corpus again"


def prepare_corpus(settings: Mapping[str, Any], audio: Path) -> Prepared:
    """The utterances of all speakers with a role. Files that are not 16 kHz mono are converted into `audio`.

    Raises SamlError when a part is missing, a role cannot be filled, a table is invalid, or (unless bad
    utterances are dropped) a file cannot be used.
    """
    own = settings["speechocean762"]
    root = root_folder(own)
    assigned = assign_roles("speechocean762", own, lambda part: speakers(root, part))
    tables = {part: read_part(root, part) for part in {one.part for one in assigned}}
    rows = [row for one in assigned for row in of_speaker(tables[one.part], one.speaker, one.role)]
    return utterance_manifests(rows, settings, "speechocean762", audio, language="English")


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
    own = settings["speechocean762"]
    check_target(speaker, supervisions)
    root = root_folder(own)
    part = part_of_target("speechocean762", own, speaker, lambda part: speakers(root, part))
    rows = of_speaker(read_part(root, part), speaker, "target")
    return utterance_manifests(rows, settings, "speechocean762", audio, language="English", headers=True)


def root_folder(settings: Mapping[str, Any]) -> Path:
    """The folder of the parts. Raises SamlError with instructions when there is none."""
    return corpus_folder("speechocean762", settings, variable=ROOT_VARIABLE, archive=ARCHIVE, advice=_ADVICE)


def speakers_of(settings: Mapping[str, Any], part: str) -> list[str]:
    """The speakers of a part; raises SamlError as `root_folder` and `speakers` do."""
    return speakers(root_folder(settings), part)


def speakers(root: Path, part: str) -> list[str]:
    """The speakers of a part, sorted. Raises SamlError with instructions when the part is missing."""
    return sorted(set(_table(root / part / "utt2spk").values()))


def read_part(root: Path, part: str) -> list[Utterance]:
    """The utterances of a part, sorted by id; their role is empty.

    Raises SamlError, naming file and utterance, when an utterance is in one table and not in the others, or
    its audio is a command.
    """
    folder = root / part
    names = ("wav.scp", "text", "utt2spk")
    files, texts, owners = (_table(folder / name) for name in names)
    for name, table in zip(names, (files, texts, owners), strict=True):
        lacking = sorted(({*files, *texts, *owners}) - set(table))
        if lacking:
            raise SamlError(f"{folder / name}: utterance {lacking[0]} is missing; {_AGAIN}")
    for utterance, file in files.items():
        if file.endswith("|"):
            raise SamlError(
                f"{folder / 'wav.scp'}: the audio of {utterance} is a command; name a file in its place"
            )
    return [
        Utterance(one, owners[one], stored(root, files[one]), texts[one], None, "") for one in sorted(files)
    ]


def _table(path: Path) -> dict[str, str]:
    """A table of Kaldi: a key and, after a space or tab, its value in each line."""
    if not path.is_file():
        raise SamlError(f"corpus speechocean762: there is no {path}; to get the corpus: {_ADVICE}")
    table: dict[str, str] = {}
    for number, line in enumerate(read_text(path, _AGAIN).splitlines(), start=1):
        key, *value = plain_line(line).split(maxsplit=1) or [""]
        if not value:
            raise SamlError(f"{path}, line {number}: {line[:60]!r} has no value after the key; {_AGAIN}")
        if key in table:
            raise SamlError(f"{path}, line {number}: {key} is listed twice; remove one")
        table[key] = value[0]
    return table


def of_speaker(rows: Sequence[Utterance], speaker: str, role: str) -> list[Utterance]:
    """The utterances of one speaker, with this role."""
    return [replace(row, role=role) for row in rows if row.speaker == speaker]
