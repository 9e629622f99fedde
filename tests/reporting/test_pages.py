"""Tables as HTML pages: the numbers of the table as text, without external resources."""

import base64
import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest

from saml.reporting.pages import write_page
from tests.reporting.results_tree import Tree, run

NAMES = {"summary", "comparisons", "speakers", "counts", "errors", "sizes", "published"}


@pytest.fixture
def pages(small: Tree) -> Path:
    run(small, pages=small.root / "pages")
    return small.root / "pages"


def cells(path: Path) -> list[pd.DataFrame]:
    """The page's tables as pandas reads them, all of it text."""
    text = path.read_text(encoding="utf-8")
    head = [
        re.findall(r"<th>(.*?)</th>", part) for part in re.findall(r"<thead>.*?</thead>", text, re.DOTALL)
    ]
    bodies = re.findall(r"<tbody>.*?</tbody>", text, re.DOTALL)
    rows = [[re.findall(r"<td>(.*?)</td>", row) for row in body.split("</tr>")[:-1]] for body in bodies]
    return [pd.DataFrame(body, columns=names) for names, body in zip(head, rows, strict=True)]


def test_there_is_a_page_for_each(pages: Path) -> None:
    assert {path.stem for path in pages.iterdir()} == NAMES
    for path in pages.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "2 target speakers cannot speak for all speakers." in text
        assert not re.search(r'(src|href)="(?!data:)', text), "a page must not need external resources"


def test_the_summary_in_per_cent(pages: Path) -> None:
    released, whisper = cells(pages / "summary.html")
    assert released["arm"].tolist() == ["fp32", "nf4", "pqm", "saml"]
    # 2 of 10, 4 of 10, 2 and 2 of 20 words.
    assert released["WER, %"].tolist() == whisper["WER, %"].tolist() == ["20.0", "40.0", "10.0", "10.0"]
    assert released["reduction vs fp32, %"].iloc[0] == "-"
    assert released["reduction vs fp32, %"].iloc[1].startswith("-100.0 [")
    assert released["held-out WER, %"].tolist() == ["50.0", "100.0", "50.0", "50.0"]


@pytest.mark.parametrize(
    ("page", "heading", "column"),
    [
        ("summary", "reduction vs fp32, %", "rel_fp32"),
        ("summary", "reduction vs nf4, %", "rel_nf4"),
        ("summary", "p vs fp32", "p_fp32"),
        ("summary", "p vs nf4", "p_nf4"),
        ("comparisons", "reduction, % [utterances resampled]", "rel"),
        ("comparisons", "[speakers too]", "rel_speakers"),
        ("comparisons", "p", "p"),
    ],
)
def test_columns_are_those_of_the_table(
    pages: Path, small: Tree, page: str, heading: str, column: str
) -> None:
    with (small.root / "tables" / f"{page}.csv").open(newline="") as file:
        table = [row for row in csv.DictReader(file) if row["scorer"] == "released"]
    expected = []
    for row in table:
        low, high = row.get(f"{column}_low", ""), row.get(f"{column}_high", "")
        interval = f"[{100 * float(low):.1f}, {100 * float(high):.1f}]" if low else ""
        value = row.get(column, "")
        text = f"{float(value):.4f}" if value and not low else f"{100 * float(value):.1f}" if value else ""
        expected.append(f"{text} {interval}".strip() or "-")
    assert cells(pages / f"{page}.html")[0][heading].tolist() == expected


def test_kinds_of_error_by_hand(pages: Path) -> None:
    table = cells(pages / "errors.html")[0].set_index("arm")
    # fp32: a substitution and a deletion in 10 words; pqm: a deletion and an insertion in 20.
    assert table.loc["fp32", ["words", "hits", "substitutions", "deletions", "insertions"]].tolist() == [
        *["10", "80.0", "10.0", "10.0", "0.0"]
    ]
    assert table.loc["pqm", ["substitutions", "deletions", "insertions", "WER, %"]].tolist() == [
        *["0.0", "5.0", "5.0", "10.0"]
    ]


def test_speakers_in_rows_and_arms_in_columns(pages: Path) -> None:
    table = cells(pages / "speakers.html")[0]
    assert list(table) == ["speaker", "fp32", "nf4", "pqm", "saml"]
    assert table["speaker"].tolist() == ["all", "b o", "anna"]
    assert table["nf4"].tolist()[:2] == ["40.0 [33.3, 45.5]", "33.3 [33.3, 33.3]"]


def test_the_data_are_inside(pages: Path, small: Tree) -> None:
    text = (pages / "counts.html").read_text(encoding="utf-8")
    (inside,) = re.findall(r'href="data:text/csv;base64,([^"]+)"', text)
    found = pd.read_csv(io.BytesIO(base64.b64decode(inside)))
    pd.testing.assert_frame_equal(found, pd.read_csv(small.root / "tables" / "wer.csv"))


def test_names_are_escaped(tmp_path: Path) -> None:
    table = pd.DataFrame({"speaker": ["<b>&"]})
    write_page(tmp_path / "x.html", "A < B", "and & so", {"a > b": table}, table)
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;" in text and "A &lt; B" in text and "<b>&" not in text
