"""Tables with quotes, in other encodings, with columns named twice."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saml.corpora.tables import read_json_lines, read_separated, read_text
from saml.runtime.errors import SamlError

TEXTS = ['Well, "now".', '"', '""', "a, b", '5" nail', "two\nlines", "a\ttab", '"Hello," she said', "plain"]


def written(folder: Path, content: str | bytes, name: str = "table.tsv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("separator", "quoting"), [("\t", 0), (",", 0), ("\t", 1), (",", 1), (",", 2)])
def test_what_csv_writes_is_read(tmp_path: Path, separator: str, quoting: int) -> None:
    """Minimal quotes, quotes around all fields, quotes around texts."""
    path = tmp_path / "table"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator, quoting=quoting)  # type: ignore[arg-type]
        writer.writerows([["id", "text", "more"], *([f"u{i}", text, 1] for i, text in enumerate(TEXTS))])
    columns, rows = read_separated(path, separator)
    assert columns == ["id", "text", "more"]
    assert [row.fields["text"] for row in rows] == TEXTS
    assert rows[-1].place == f"{path}, line {len(TEXTS) + 2}"  # one text has two lines


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.text("ab \"'\n,", max_size=6).map(str.strip), min_size=2, max_size=2), max_size=5)
)
def test_what_pandas_writes_is_read(tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("t") / "table.tsv"
    frame = pd.DataFrame(texts, columns=["one", "two"])
    frame.to_csv(path, sep="\t", index=False)
    _, rows = read_separated(path, "\t")
    assert [[row.fields["one"], row.fields["two"]] for row in rows] == [t for t in texts if any(t)]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ('"Hello," she said', '"Hello," she said'),  # a quote that is part of the text
        ('"Hello', '"Hello'),
        ('a "word" inside', 'a "word" inside'),
        ('"all of it" ', "all of it"),
        ('"""Well,"" she said"', '"Well," she said'),
        ('"a\ttab"', "a\ttab"),
    ],
)
def test_quotes_by_hand(tmp_path: Path, field: str, text: str) -> None:
    """Whatever the quotes of a line, the lines after it are rows of their own."""
    path = written(tmp_path, f"id\ttext\nu1\t{field}\nu2\tnext\n")
    _, rows = read_separated(path, "\t")
    assert [row.fields["text"] for row in rows] == [text, "next"]


def test_an_open_quote_does_not_swallow_rows(tmp_path: Path) -> None:
    path = written(tmp_path, 'id\tfile\ttext\nu1\ta\t"one\nu2\tb\ttwo\nu3\tc\tthree"\nu4\td\tfour\n')
    with pytest.raises(SamlError, match=r"table.tsv, line 2: its quote closes in line 4 only"):
        read_separated(path, "\t")


BAD = {
    "twice": ("id\ttext\ttext\n", "the first line names the column text twice"),
    "alike twice": ("id\ttext\ttext\u200b\n", "the first line names the column text twice"),
    "a tab in a text": (
        "id\ttext\nu1\tone\ttwo\n",
        "line 2: 3 fields, .* lists 2; where a text has tabs in it",
    ),
    "too few": ("id\ttext\nu1\n", "line 2: 1 fields, .* lists 2; put tabs between"),
    "UTF-16": ("id\ttext\n".encode("utf-16"), "not UTF-8 text but UTF-16.*save it as UTF-8"),
    "UTF-16 without mark": ("id\ttext\n".encode("utf-16-le") * 20, "not UTF-8 text but UTF-16"),
    "Latin-1": ("id\ttext\nu1\tcaf\u00e9\n".encode("latin-1"), "line 2 has the byte 0xe9, which is 'é'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    with pytest.raises(SamlError, match=message) as error:
        read_separated(written(tmp_path, content), "\t")
    assert "\n" not in str(error.value)


def test_line_ends_of_all_systems(tmp_path: Path) -> None:
    for end in ("\n", "\r\n", "\r"):
        path = written(tmp_path, "\ufeff" + end.join(["id\ttext\t", "u1\tone\t", "", "\t\t", "u2\ttwo\t"]))
        columns, rows = read_separated(path, "\t")
        assert columns == ["id", "text"] and [row.fields["id"] for row in rows] == ["u1", "u2"]
        assert read_text(path, "").count("\n") == 4


def test_json_lines(tmp_path: Path) -> None:
    objects = [{"id": 7, "text": "one", "other": {"a": 1}}, {"id": "b", "text": None}]
    path = written(tmp_path, "\n\n".join(map(json.dumps, objects)))
    rows = read_json_lines(path)
    assert [row.fields for row in rows] == [{"id": "7", "text": "one"}, {"id": "b", "text": ""}]
    assert rows[1].place == f"{path}, line 3"
    for line, message in (
        ("[1]", "line 1: not a JSON object"),
        ("{", "line 1: not JSON"),
        ('{"text": "a", "text": "b"}', "line 1 names the column text twice"),
    ):
        with pytest.raises(SamlError, match=message):
            read_json_lines(written(tmp_path, line))
