"""Pruned adapters of a tree with every number counted by hand."""

import csv
from pathlib import Path

import pytest

from saml.reporting import pruning as module
from saml.reporting.csv_tables import read_table
from saml.tracking import read_record
from tests.reporting.results_tree import ARMS, SCORING, Tree

ANNA = [("a1", "bin blue at f"), ("a2", "set red now")]


@pytest.fixture
def pruned(small: Tree) -> Tree:
    """Below the tree `small`, where saml makes 2 errors in 20 words: with one expert it makes none; as one
    LoRA its hypotheses for "b o", 3 words, are empty under both seeds.
    """
    for kept, size in (("1", 5000), ("collapsed", 4000)):
        below = Tree(small.root / "pruned" / kept)
        for seed in (1, 2):
            hypothesis = "lay green here" if kept == "1" else ""
            below.hypotheses("b o", "saml", seed, [("test", "b1", "lay green here", hypothesis)])
            below.hypotheses("anna", "saml", seed, [("test", name, text, text) for name, text in ANNA])
            for speaker, share in (("anna", 1.0), ("b o", 0.5)):
                more = {"pruned": {"experts": [[0]], "share": share}}
                below.adapter(speaker, "saml", seed, size, **(more if kept == "1" else {}))
    return small


def run(tree: Tree, **changes: object) -> Path:
    arguments = {
        "results": tree.root,
        "experiment": "mini",
        "arms": {"saml": {**ARMS["saml"], "experts": 2}},
        "speakers": ["b o", "anna"],
        "seeds": [1, 2],
        "settings": SCORING,
        "pruning": tree.root / "tables" / "pruning.csv",
        "pages": tree.root / "pages",
        "output_dir": tree.root / "figures",
        "record": tree.root / "tables" / "pruning" / "run.jsonl",
    }
    module.pruning(**{**arguments, **changes})
    return tree.root / "tables" / "pruning.csv"


def test_rates_and_bytes_by_hand(pruned: Tree) -> None:
    with run(pruned).open(newline="") as file:
        table = {row["kept"]: row for row in csv.DictReader(file) if row["scorer"] == "released"}
    assert list(table) == ["2", "1", "collapsed"]
    assert [float(row["wer"]) for row in table.values()] == pytest.approx([2 / 20, 0.0, 6 / 20])
    # The tree's own: 60,000 bytes under seed 1, and 1,000 more under seed 2.
    assert [row["speaker_bytes"] for row in table.values()] == ["60500", "5000", "4000"]
    assert [float(row["share"]) for row in table.values()] == [1.0, 0.75, 1.0]
    assert table["2"]["rel"] == "" and float(table["1"]["rel"]) == 1.0
    assert float(table["collapsed"]["rel"]) == pytest.approx(-2.0)
    # "b o" has 1 error in 6 words with the whole mixture, anna 1 in 14.
    counted = [table["collapsed"][f"speakers_{how}"] for how in ("better", "worse", "equal")]
    assert counted == ["1", "1", "0"]


def test_points_lie_where_the_table_says(pruned: Tree) -> None:
    figure = module.pruning_figure(read_table(run(pruned)))
    (axes,) = figure.axes
    mixtures, one_lora = axes.lines
    assert list(mixtures.get_ydata()) == pytest.approx([10.0, 0.0])
    assert list(one_lora.get_ydata()) == pytest.approx([30.0]) and one_lora.get_linestyle() == "None"
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["2\n0.06 MB", "1\n0.01 MB", "one LoRA\n0.00 MB"]


def test_the_page_and_the_record(pruned: Tree) -> None:
    run(pruned)
    page = (pruned.root / "pages" / "pruning.html").read_text(encoding="utf-8")
    assert "<td>one LoRA</td>" in page and "<td>0.005</td>" in page and ">nan<" not in page.lower()
    found = read_record(pruned.root / "tables" / "pruning" / "run.jsonl")
    assert found.scores["wer/released/saml/collapsed"] == pytest.approx(0.3)
    assert {path.suffix for path in found.files} == {".csv", ".html", ".svg", ".png"}
