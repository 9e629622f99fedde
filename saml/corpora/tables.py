"""Tables as people and programs write them: separated by tabs or commas, or a JSON object a line.

Quotes are read as RFC 4180 has them: around a field, doubled inside, and a quoted field may contain
separators and line breaks. A quote that is only a character of a text is kept.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saml.runtime.errors import SamlError
from saml.runtime.text import plain_line

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons"}


@dataclass(frozen=True)
class Row:
    """A row of a table: where it stands, as `<file>, line <number>`, and its fields by column."""

    place: str
    fields: dict[str, str]


def read_text(path: Path, advice: str) -> str:
    """The content of a UTF-8 file without byte order mark, its lines ending in a line feed only.

    Raises SamlError, which says what the bytes probably are and ends with `advice`, for other content.
    """
    content = path.read_bytes()
    if content.startswith(_UTF16) or content[:200].count(0) > 50:
        raise SamlError(f"{path}: not UTF-8 text but UTF-16, which some programs call Unicode; {advice}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1]
        raise SamlError(
            f"{path}: not UTF-8 text: line {number} has the byte 0x{byte.hex()}, which is "
            f"{byte.decode('cp1252', 'replace')!r} in Windows-1252 and often in Latin-1; {advice}"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_separated(path: Path, separator: str) -> tuple[list[str], list[Row]]:
    """The columns that the first line names, and the rows below it without the empty ones.

    Fields and columns are stripped; columns without a name are left out.

    Raises SamlError, naming the line, where a column is named twice, a row has another number of fields than
    the first line, or quotes are not closed.
    """
    lines = read_text(path, "save it as UTF-8").split("\n")
    records = _records(lines, separator, path)
    _, first = next(records)
    columns = [plain_line(name) for name in first]
    _refuse_twice(columns, f"{path}: the first line")
    rows = [
        Row(f"{path}, line {number}", _by_column(columns, fields, separator, f"{path}, line {number}"))
        for number, fields in records
        if any(fields)
    ]
    return [name for name in columns if name], rows


def separator_hint(path: Path, separator: str) -> str:
    """The end of a message about missing columns: what the first line seems to be separated by, if not so."""
    first = read_text(path, "save it as UTF-8").split("\n")[0]
    counts = {other: first.count(other) for other in _NAMES}
    best = max(counts, key=lambda other: counts[other])
    if counts[best] == 0 or counts[separator] > 0:
        return ""
    return f" (it is separated by {_NAMES[best]}; save the table with {_NAMES[separator]} between its fields)"


def read_json_lines(path: Path) -> list[Row]:
    """The objects of a file with one a line; numbers become text, null becomes the empty text.

    Keys are on one line, as columns are. Lists, objects and truth values are left out.

    Raises SamlError, naming the line, for one that is no object or names a key twice.
    """
    rows = []
    for number, line in enumerate(read_text(path, "save it as UTF-8").split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            rows.append(Row(place, dict(_texts(_object(line, place)))))
    return rows


def _records(lines: Sequence[str], separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, fields) of each record; a quoted field may go over several lines."""
    at, width = 0, lines[0].count(separator)
    while at < len(lines):
        fields, used = _record(lines, at, separator)
        # A quote that was never closed runs on to one far below, with rows of the table between.
        inner = [line for field in fields for line in field.split("\n")[1:]]
        if width and any(line.count(separator) >= width for line in inner):
            raise SamlError(
                f"{path}, line {at + 1}: its quote closes in line {at + used} only, with other rows between; "
                "close it, or double it where it is part of the text"
            )
        yield at + 1, [field.strip() for field in fields]
        at += used


def _record(lines: Sequence[str], at: int, separator: str) -> tuple[list[str], int]:
    """The fields of the record that begins at a line, and the number of its lines."""
    if '"' in lines[at]:
        reader = csv.reader(
            (line + "\n" for line in lines[at:]), delimiter=separator, strict=True, skipinitialspace=True
        )
        try:
            return next(reader), reader.line_num
        except csv.Error:
            pass  # quotes that are part of a text, as in: "Hello," she said
    return [_unquoted(field.strip()) for field in lines[at].split(separator)], 1


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if _QUOTED.fullmatch(field) else field


def _by_column(columns: Sequence[str], fields: Sequence[str], separator: str, place: str) -> dict[str, str]:
    if len(fields) != len(columns):
        more = (
            f"; where a text has {_NAMES[separator]} in it, put the text in quotes, or spaces in their place"
            if len(fields) > len(columns)
            else f"; put {_NAMES[separator]} between all of its fields"
        )
        raise SamlError(f"{place}: {len(fields)} fields, but the first line lists {len(columns)}{more}")
    return {column: field for column, field in zip(columns, fields, strict=True) if column}


def _refuse_twice(columns: Sequence[str], place: str) -> None:
    for column, count in Counter(columns).items():
        if column and count > 1:
            raise SamlError(f"{place} names the column {column} twice; remove or rename one of them")


def _object(line: str, place: str) -> list[tuple[str, Any]]:
    try:
        pairs = json.loads(line, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise SamlError(f"{place}: not JSON ({error}); correct the line") from None
    if not isinstance(pairs, _Pairs):
        raise SamlError(f"{place}: not a JSON object; correct the line")
    named = [(plain_line(key), value) for key, value in pairs]
    _refuse_twice([key for key, _ in named], place)
    return named


class _Pairs(list):
    """The keys and values of a JSON object, among which a key may be twice."""


def _texts(pairs: list[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    for key, value in pairs:
        if key and not isinstance(value, list | bool):
            yield key, "" if value is None else str(value).strip()
