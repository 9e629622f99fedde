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
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from saml.corpora.listing import named_folder, stored, visible_files
from saml.corpora.tables import Row, read_json_lines, read_separated, read_text, separator_hint
from saml.corpora.utterances import POOLS, Utterance
from saml.runtime.errors import SamlError
from saml.runtime.files import checksum
from saml.runtime.paths import expand
from saml.runtime.text import plain_line, plain_text

ROOT_VARIABLE = "SAML_FOLDER_ROOT"
TABLES = ("manifest.tsv", "metadata.csv", "metadata.jsonl")
TEXTS = "*.txt"  # as a name of a manifest: text files beside the recordings
ROLES = (*POOLS, "target", "pool", "")
COLUMNS = ("utterance", "speaker", "file", "text")

# Columns of the tables of others that mean the same, in order of preference.
_SPEAKER = ("speaker", "speaker_id", "client_id")
_TEXT = ("transcription", "text", "sentence")
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


@dataclass(frozen=True)
class Listing:
    """What a folder lists: utterances, recordings without a text file, and text files without a recording."""

    utterances: list[Utterance]
    without_text: list[Utterance]
    without_recording: list[Path]


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


def read_listing(source: Source) -> Listing:
    """What a folder lists, in the order of its table, or of the names of its files.

    Raises SamlError, naming file and line, where a column or a field is missing or twice, an utterance is
    listed twice, a role does not exist, or a file lies outside the folder.
    """
    if source.table is None:
        listing = _read_texts(source.root)
    else:
        listing = Listing(list(_read_table(source.root, source.table)), [], [])
        if not listing.utterances:
            raise SamlError(f"{source.table}: there are no utterances after the first line; add some")
    _refuse_duplicates(listing.utterances, source.table or source.root)
    return listing


def digest(source: Source) -> str:
    """SHA-256 of the table; of text files, of their names and contents and the names of the recordings."""
    if source.table is not None:
        return checksum(source.table)
    total = hashlib.sha256()
    for path in _parts(source.root):
        name = path.relative_to(source.root).as_posix()
        total.update(f"{name}\0{checksum(path) if _is_text(path) else ''}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def last_change(source: Source) -> float:
    """When the table, or a text file or folder of them, was last changed, in seconds since 1970."""
    if source.table is not None:
        return source.table.stat().st_mtime
    texts = [path for path in _parts(source.root) if _is_text(path)]
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
    for path in _parts(root):
        if path.parent != folder:
            folder, names = path.parent, {}
        kinds = names.setdefault(plain_text(path.stem), set())
        kinds.add(_is_text(path))
        if len(kinds) == 2:
            return True
    return False


def _parts(root: Path) -> Iterator[Path]:
    """The recordings and text files in a folder and below."""
    return (path for path in visible_files(root) if _is_text(path) or path.suffix.lower() in _RECORDINGS)


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def _read_table(root: Path, table: Path) -> Iterator[Utterance]:
    if table.suffix.lower() == ".jsonl":
        rows = read_json_lines(table)
        columns = list(dict.fromkeys(name for row in rows for name in row.fields))
    else:
        columns, rows = read_separated(table, "," if table.suffix.lower() == ".csv" else "\t")
    if table.suffix.lower() in (".csv", ".jsonl"):
        yield from _read_metadata(root, table, columns, rows) if rows else ()
        return
    lacking = [column for column in COLUMNS if column not in columns]
    if lacking:
        raise SamlError(
            f"{table}: the first line lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}; it "
            f"must list the columns, separated by tabs{separator_hint(table, chr(9))}"
        )
    for row in rows:
        inside = _inside(root, root, _filled(row, "file"), row.place)
        ids = (_filled(row, "utterance"), _filled(row, "speaker"))
        yield _utterance(root, inside, ids, row.fields["text"], row)


def _read_metadata(
    root: Path, table: Path, columns: Sequence[str], rows: Iterable[Row]
) -> Iterator[Utterance]:
    texts = [name for name in _TEXT if name in columns]
    if "file_name" not in columns or not texts:
        hint = separator_hint(table, ",") if table.suffix.lower() == ".csv" else ""
        raise SamlError(
            f"{table}: it needs the column file_name, and the text as one of {', '.join(_TEXT)}; it has "
            f"{', '.join(columns[:10])}{hint}"
        )
    if len(texts) > 1:
        raise SamlError(
            f"{table}: both {texts[0]} and {texts[1]} are columns of texts; remove or rename the one that is "
            "not to be learned"
        )
    speaker = next((name for name in _SPEAKER if name in columns), None)
    for row in rows:
        inside = _inside(root, table.parent, _filled(row, "file_name"), row.place)
        utterance, own = _by_path(root, inside)
        if "utterance" in columns:
            utterance = _filled(row, "utterance")
        if texts[0] not in row.fields:
            raise SamlError(f"{row.place}: {texts[0]} is missing, or is no text; write it")
        ids = (utterance, own if speaker is None else _filled(row, speaker))
        yield _utterance(root, inside, ids, row.fields[texts[0]], row)


def _read_texts(root: Path) -> Listing:
    """Recordings and texts of the same name, wherever they lie below the folder."""
    recordings: dict[str, Path] = {}
    texts: dict[str, Path] = {}
    for path in _parts(root):
        name, _ = _by_path(root, path.relative_to(root).as_posix())
        of_kind = texts if _is_text(path) else recordings
        if name in of_kind:
            raise SamlError(f"{path} and {of_kind[name]} have the same name; remove or rename one of them")
        of_kind[name] = path
    utterances: list[Utterance] = []
    without: list[Utterance] = []
    for name, path in recordings.items():
        _, speaker = _by_path(root, path.relative_to(root).as_posix())
        text = read_text(texts[name], "save it as UTF-8") if name in texts else ""
        row = Utterance(name, speaker, path, plain_line(text), None, "")
        (utterances if name in texts else without).append(row)
    return Listing(utterances, without, [path for name, path in texts.items() if name not in recordings])


def _utterance(root: Path, inside: str, ids: tuple[str, str], text: str, row: Row) -> Utterance:
    role = row.fields.get("role", "")
    if role not in ROLES:
        raise SamlError(
            f"{row.place}: there is no role {role!r}; choose one of {', '.join(filter(None, ROLES))}"
        )
    utterance, speaker = map(plain_line, ids)
    return Utterance(utterance, speaker, stored(root, inside), plain_line(text), _seconds(row), role)


def _filled(row: Row, column: str) -> str:
    """A field that may not be empty."""
    text = row.fields.get(column, "")
    if not plain_line(text):
        raise SamlError(f"{row.place}: the {column} is empty; fill it in")
    return text


def _inside(root: Path, folder: Path, file: str, place: str) -> str:
    """The path of a file relative to the root, where it lies inside; `file` is relative to `folder`.

    Only names are compared, so that a part of a corpus may be a link to elsewhere.
    """
    if os.path.isabs(file):
        reason = f"only files in {root} are read"
        for above in (os.path.abspath(root), os.path.realpath(root)):
            inside = os.path.relpath(os.path.normpath(file), above)
            if not _leaves(inside):
                return inside
    else:
        reason = f"it leads out of {root}"
        inside = os.path.normpath(os.path.join(os.path.relpath(folder, root), file))
        if not _leaves(inside):
            return inside
    raise SamlError(
        f"{place}: the file {file} is outside the corpus folder: {reason}; move it inside, or name a folder "
        "above both"
    )


def _leaves(inside: str) -> bool:
    return inside == ".." or inside.startswith("../")


def _by_path(root: Path, inside: str) -> tuple[str, str]:
    """The utterance's id and the speaker that the path of a file says."""
    path = PurePosixPath(plain_text(inside))
    speaker = path.parts[0] if len(path.parts) > 1 else plain_text(root.resolve().name) or "speaker"
    return path.with_suffix("").as_posix() if path.name else str(path), speaker


def _seconds(row: Row) -> float | None:
    text = row.fields.get("seconds", "")
    try:
        return float(text) if text else None
    except ValueError:
        raise SamlError(
            f"{row.place}: seconds {text!r} is not a number; correct it or leave it empty"
        ) from None


def _refuse_duplicates(rows: Iterable[Utterance], where: Path) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.utterance in seen:
            raise SamlError(
                f"{where}: utterance {row.utterance} is listed twice; give each utterance its own id"
            )
        seen.add(row.utterance)
