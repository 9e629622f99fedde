"""How a folder says what is spoken in its recordings: tables, or text files beside the recordings.

Looked for in this order:

    manifest.tsv                 separated by tabs; columns utterance, speaker, file, text
    metadata.csv, metadata.jsonl as Hugging Face's audio folders: file_name, and the text as `transcription`,
                                 `text` or `sentence`; the speaker as `speaker`, `speaker_id` or `client_id`
    *.txt                        <name>.txt beside <name>.wav (or another kind of recording)

Without a column of its own an utterance's id is the path of its file without the suffix, its speaker the
first folder in this path, or for files in the folder itself the folder's name. Every table may have the
columns `seconds` and `role`; other columns are ignored.

Nothing heavy is imported: the workflow asks for `digest` before any job starts.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saml.corpora.listing import named_folder, stored, visible_files
from saml.runtime.errors import SamlError
from saml.runtime.files import checksum
from saml.runtime.paths import expand
from saml.runtime.text import plain_text

ROOT_VARIABLE = "SAML_FOLDER_ROOT"
TABLES = ("manifest.tsv", "metadata.csv", "metadata.jsonl")
TEXTS = "*.txt"  # as a name of a manifest: text files beside the recordings
COLUMNS = ("utterance", "speaker", "file", "text")

_RECORDINGS = """
    .wav .flac .ogg .oga .opus .mp3 .m4a .mp4 .aac .wma .webm .aif .aiff .aifc .au .snd .caf .sph .nist .w64
    .rf64
""".split()


@dataclass(frozen=True)
class Advice:
    """What a command tells its user to do.

    Attributes:
        key: what names the folder.
        place: how to name a folder of recordings.
        choose: how to choose one of several layouts; `{}` stands for its name.
    """

    key: str
    place: str
    choose: str


CONFIGURED = Advice(
    key="corpus.folder.root",
    place=f"set corpus.folder.root or {ROOT_VARIABLE} to a folder that contains a manifest.tsv with the "
    f"columns {', '.join(COLUMNS)}, or has another layout that config/README.md names (for example CMU AN4 "
    "from github.com/cmusphinx/an4)",
    choose="corpus.folder.manifest: '{}'",
)


@dataclass(frozen=True)
class Source:
    """A folder, and the table that lists its utterances; None: text files beside the recordings do."""

    root: Path
    table: Path | None


def find_source(settings: Mapping[str, Any], advice: Advice = CONFIGURED) -> Source:
    """The folder of the config's section `folder`, and the layout that it has.

    `root` is the folder, null: the environment variable SAML_FOLDER_ROOT; `manifest` is a table inside it,
    `TEXTS`, or null for whichever layout is there.

    Raises SamlError, with advice, where there is no such folder, no such table, no layout, or two of them.
    """
    named, key = named_folder(settings, advice.key, ROOT_VARIABLE)
    if not named:
        raise SamlError(f"corpus folder: no folder is configured; {advice.place}")
    root, wanted = Path(expand(named, key)), settings["manifest"]
    if wanted is not None and wanted != TEXTS:
        table = stored(root, wanted)
        if not table.is_file():
            raise SamlError(f"corpus folder: {table} does not exist; {advice.place}")
        return Source(root, table)
    if not root.is_dir():
        raise SamlError(f"corpus folder: there is no folder {root}; {advice.place}")
    if wanted == TEXTS:
        return Source(root, None)
    return _only(root, [name for name in TABLES if (root / name).is_file()], advice)


def digest(source: Source) -> str:
    """SHA-256 of the table; of text files, of their names and contents and the names of the recordings."""
    if source.table is not None:
        return checksum(source.table)
    total = hashlib.sha256()
    for path in recordings_and_texts(source.root):
        name = path.relative_to(source.root).as_posix()
        total.update(f"{name}\0{checksum(path) if is_text(path) else ''}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def last_change(source: Source) -> float:
    """When the table, or a text file or folder of them, was last changed, in seconds since 1970."""
    if source.table is not None:
        return source.table.stat().st_mtime
    texts = [path for path in recordings_and_texts(source.root) if is_text(path)]
    return max(path.stat().st_mtime for path in {source.root, *texts, *(path.parent for path in texts)})


def _only(root: Path, tables: list[str], advice: Advice) -> Source:
    """The one layout that is there."""
    texts = _has_texts(root)
    found = tables + [TEXTS] * texts
    if len(found) > 1:
        shown = [name if name != TEXTS else f"{TEXTS} beside the recordings" for name in found]
        raise SamlError(
            f"corpus folder: {root} says twice what is spoken in it, by {' and by '.join(shown[:2])}; remove "
            f"one, or choose, as with {advice.choose.format(found[0])}"
        )
    if not found:
        raise SamlError(
            f"corpus folder: {root} contains no {', no '.join(TABLES)}, and no recording with a .txt file of "
            f"the same name beside it; {advice.place}"
        )
    return Source(root, root / tables[0] if tables else None)


def _has_texts(root: Path) -> bool:
    """Whether there is a recording with a text file beside it."""
    folder, names = Path(), dict[str, set[bool]]()
    for path in recordings_and_texts(root):
        if path.parent != folder:
            folder, names = path.parent, {}
        kinds = names.setdefault(plain_text(path.stem), set())
        kinds.add(is_text(path))
        if len(kinds) == 2:
            return True
    return False


def recordings_and_texts(root: Path) -> Iterator[Path]:
    """The recordings and text files in a folder and below."""
    return (path for path in visible_files(root) if is_text(path) or path.suffix.lower() in _RECORDINGS)


def is_text(path: Path) -> bool:
    """Whether a file's name is that of a text."""
    return path.suffix.lower() == ".txt"
