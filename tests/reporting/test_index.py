"""The front page against the tables and files that it shows, parsed with the standard library."""

import base64
import csv
import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from saml.reporting.figures import FIGURES
from saml.reporting.index import index
from tests.reporting.html_reader import Page
from tests.reporting.results_tree import ARMS, Tree, run

SPEAKERS = ["b o", "anna"]
SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"


def make(tree: Tree, arms: list[str] | None = None) -> Page:
    """The front page of a tree with tables, pages and (empty) figures."""
    names = list(ARMS) if arms is None else arms
    run(tree, arms={arm: ARMS[arm] for arm in names}, pages=tree.root / "pages")
    (tree.root / "figures").mkdir(exist_ok=True)
    for name in FIGURES:
        (tree.root / "figures" / f"{name}.svg").write_text(SVG)
    tables = {name: tree.root / "tables" / f"{name}.csv" for name in ("summary", "wer")}
    pages = {"index": tree.root / "index.html", "key": tree.root / "pages" / "key.html"}
    factors = {"arms": names, "speakers": SPEAKERS, "seeds": [1, 2]}
    index(
        results=tree.root,
        experiment="mini",
        corpus="letters & digits",
        record=tree.root / "pages" / "run.jsonl",
        **tables,
        **pages,
        **factors,
    )
    return Page(tree.root / "index.html")


def record(tree: Tree, speaker: str, cuts: list[tuple[str, Path, float, float, float]]) -> None:
    """The manifest of a speaker: (utterance, file, start and seconds of the cut, seconds of the file)."""
    lines = [
        {
            "id": name,
            "start": start,
            "duration": seconds,
            "recording": {"sources": [{"source": str(path)}], "duration": whole},
        }
        for name, path, start, seconds, whole in cuts
    ]
    folder = tree.root / "data" / "speakers" / speaker.replace(" ", "%20")
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "cuts.jsonl.gz").write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def spoken(small: Tree, tmp_path: Path) -> Tree:
    """Anna's two utterances are halves of one file; "b o" has a file for the one utterance."""
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 16000).astype(np.float32)
    for name in ("anna", "b o"):
        soundfile.write(tmp_path / f"{name}.flac", noise, 8000)
    anna = tmp_path / "anna.flac"
    record(small, "anna", [("a1", anna, 0.0, 1.0, 2.0), ("a2", anna, 1.0, 1.0, 2.0)])
    record(small, "b o", [("b1", tmp_path / "b o.flac", 0.0, 2.0, 2.0)])
    return small


def rows(tree: Tree, name: str) -> list[dict[str, str]]:
    with (tree.root / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_relative_link_leads_to_a_file(spoken: Tree) -> None:
    make(spoken)
    pages = [spoken.root / "index.html", *spoken.root.glob("pages/**/*.html")]
    assert len(pages) > 1 + len(SPEAKERS)
    found = [(path, link) for path in pages for link in Page(path).links]
    assert [(str(path), str(link)) for path, link in found if not link.exists()] == []
    linked = {link.resolve() for path, link in found if path.name == "index.html"}
    for wanted in ("tables/*.csv", "figures/*.svg", "pages/*.html", "pages/speakers/*.html"):
        files = {path.resolve() for path in spoken.root.glob(wanted)} - {spoken.root / "pages/key.html"}
        assert files and files <= linked, f"{wanted} without a link"


def test_nothing_comes_from_elsewhere(spoken: Tree) -> None:
    make(spoken)
    for path in spoken.root.glob("**/*.html"):
        assert not [
            one for one in Page(path).addresses if re.match("[a-z]+:", one) and not one.startswith("data:")
        ]


def test_the_first_sentence_has_the_numbers_of_the_summary(small: Tree) -> None:
    (sentence,) = make(small).texts[".key"]
    released = {row["arm"]: row for row in rows(small, "summary") if row["scorer"] == "released"}
    last = [row for arm, row in released.items() if ARMS[arm]["adapted"]][-1]
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d", sentence)]
    columns = ["rel_fp32", "rel_fp32_low", "rel_fp32_high"]
    expected = [float(last["wer"]), float(released["fp32"]["wer"]), *(float(last[name]) for name in columns)]
    assert numbers == [round(100 * value, 1) for value in expected]
    assert f"each of {last['speakers']} target speakers, {last['arm']} reaches" in sentence
    basis = make(small).texts[".note"][1]
    assert basis.startswith(f"{int(last['words']):,} words, {last['seeds']} seeds, scorer released;")
    size = float(last["model_mb"]) + float(last["speaker_mb"])
    assert f"{size:.1f} MB for one user instead of {float(released['fp32']['model_mb']):.1f} MB" in basis


def test_an_interval_around_zero_is_called_not_significant(small: Tree) -> None:
    (sentence,) = make(small).texts[".key"]
    low, high = map(float, re.findall(r"\[(.*), (.*)\]", sentence)[0])
    assert ("not significant" in sentence) == (low <= 0 <= high)


def test_the_page_of_the_report_has_the_same_sentence_and_the_figure_inside(small: Tree) -> None:
    page, key = make(small), Page(small.root / "pages" / "key.html")
    assert key.texts[".key"] == page.texts[".key"]
    (address,) = key.addresses
    assert base64.b64decode(address.removeprefix("data:image/svg+xml;base64,")).decode() == SVG


def test_without_an_adapted_arm_there_is_no_number(small: Tree) -> None:
    page = make(small, ["fp32", "nf4"])
    assert page.texts[".key"] == ["No adapted arm is compared with full precision."]
    assert "article" not in page.texts


def test_examples_are_the_largest_gain_typical_and_worst_ones(small: Tree) -> None:
    """fp32 against saml, seed 1, word errors: a1 1 and 0, a2 1 and 0, b1 0 and 1; one of a speaker each."""
    articles = make(small).texts["article"]
    kinds = ["Largest gain", "Typical", "Typical", "Worst"]
    assert [re.split(":|, ", text)[0] for text in articles] == kinds
    assert "1 → 0 errors, speaker anna" in articles[0] and "0 → 1 error, speaker b o" in articles[3]
    assert "bin blue at f" in articles[0]


def test_recordings_are_inside_the_page(spoken: Tree, tmp_path: Path) -> None:
    sounds = [one for one in make(spoken).addresses if one.startswith("data:audio")]
    assert len(sounds) == 4
    whole, _ = soundfile.read(tmp_path / "anna.flac")
    part, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[0].split(",")[1])))
    assert rate == 8000 and np.array_equal(part, whole[:8000]), "a1 is the first half of the file"
    kept = [base64.b64decode(one.split(",")[1]) for one in sounds]
    assert (tmp_path / "b o.flac").read_bytes() in kept


def test_pages_of_speakers_play_their_part_of_a_file(spoken: Tree) -> None:
    make(spoken)
    page = Page(spoken.root / "pages" / "speakers" / "anna.html")
    sounds = [one for one in page.addresses if ".flac" in one]
    assert sorted(one.partition("#")[2] for one in sounds) == ["t=0.00,1.00", "t=1.00,2.00"]
    assert len(page.texts["article"]) == 2 and "nf4 (2)" in page.texts["article"][0]


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b'{"id": 1}\n')],
    ids=["empty", "no gzip", "no cut"],
)
def test_a_page_without_recordings_is_complete(small: Tree, content: bytes) -> None:
    record(small, "anna", [])
    (small.root / "data/speakers/anna/cuts.jsonl.gz").write_bytes(content)
    page = make(small)
    assert len(page.texts["article"]) == 4 and "audio" not in page.texts


def test_names_are_escaped(small: Tree) -> None:
    assert "letters & digits" in make(small).texts[".note"][0]
    assert "letters &amp; digits" in (small.root / "index.html").read_text()
