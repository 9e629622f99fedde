"""The utterances that a folder lists, in any of its layouts (`saml.corpora.folder_layouts`)."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from saml.corpora.folder_layouts import COLUMNS, Source, is_text, recordings_and_texts
from saml.corpora.listing import stored
from saml.corpora.tables import Row, read_json_lines, read_separated, read_text, separator_hint
from saml.corpora.utterances import POOLS, Utterance
from saml.runtime.errors import SamlError
from saml.runtime.text import plain_line, plain_text

ROLES = (*POOLS, "target", "pool", "")
# Columns of the tables of others that mean the same, in order of preference.
_SPEAKER = ("speaker", "speaker_id", "client_id")
_TEXT = ("transcription", "text", "sentence")


@dataclass(frozen=True)
class Listing:
    """What a folder lists: utterances, recordings without a text file, and text files without a recording."""

    utterances: list[Utterance]
    without_text: list[Utterance]
    without_recording: list[Path]


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
    for path in recordings_and_texts(root):
        name, _ = _by_path(root, path.relative_to(root).as_posix())
        of_kind = texts if is_text(path) else recordings
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
