"""The enrolment curve of a tree with every number counted by hand."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from saml.corpora.registry import folder_name
from saml.reporting import enrolment as module
from saml.reporting.csv_tables import read_table
from saml.runtime.errors import SamlError
from saml.tracking import read_record
from tests.reporting.results_tree import ARMS, SCORING, Tree


@pytest.fixture
def curve(small: Tree) -> Tree:
    """The tree `small` is the experiment itself, with 4 utterances; below it adaptations to 2.

    There pqm recognises "lay here" (1 deletion) for "b o" under both seeds, saml everything correctly.
    Anna has 3 training utterances, "b o" 5 and 2 in two folds.
    """
    for size, text in ((2, "lay here"),):
        below = Tree(small.root / "enrolment" / str(size))
        for seed in (1, 2):
            for arm in ("pqm", "saml"):
                hypothesis = text if arm == "pqm" else "lay green here"
                below.hypotheses("b o", arm, seed, [("test", "b1", "lay green here", hypothesis)])
                lines = [("test", name, text, text) for name, text in ANNA]
                below.hypotheses("anna", arm, seed, lines)
    for speaker, folds in (("anna", [3]), ("b o", [5, 2])):
        path = small.root / "data" / "speakers" / folder_name(speaker) / "splits.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"folds": [{"train": ["u"] * count} for count in folds]}))
    return small


ANNA = [("a1", "bin blue at f"), ("a2", "set red now")]


def run(tree: Tree, **changes: object) -> Path:
    arguments = {
        "results": tree.root,
        "experiment": "mini",
        "arms": ARMS,
        "speakers": ["b o", "anna"],
        "seeds": [1, 2],
        "sizes": [2],
        "own_size": 4,
        "reference": "pqm",
        "settings": SCORING,
        "enrolment": tree.root / "tables" / "enrolment.csv",
        "output_dir": tree.root / "figures",
        "record": tree.root / "enrolment" / "run.jsonl",
    }
    module.enrolment(**{**arguments, **changes})
    return tree.root / "tables" / "enrolment.csv"


def rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(newline="") as file:
        return {(row["arm"], row["size"]): row for row in csv.DictReader(file) if row["scorer"] == "released"}


def test_rates_by_hand(curve: Tree) -> None:
    table = rows(run(curve))
    assert list(table) == [
        *[("fp32", "0"), ("nf4", "0"), ("pqm", "2"), ("saml", "2"), ("pqm", "4"), ("saml", "4")]
    ]
    # Those of the experiment itself are what summary.csv has: 2 and 4 of 10 words, 2 and 2 of 20.
    expected = {("fp32", "0"): 0.2, ("nf4", "0"): 0.4, ("pqm", "4"): 0.1, ("saml", "4"): 0.1}
    expected |= {("pqm", "2"): 2 / 20, ("saml", "2"): 0.0}
    assert {key: float(row["wer"]) for key, row in table.items()} == pytest.approx(expected)
    assert {row["words"] for key, row in table.items() if key[1] != "0"} == {"20"}


def test_training_utterances_are_a_mean_over_speakers_and_folds(curve: Tree) -> None:
    table = rows(run(curve))
    assert float(table["saml", "2"]["train_utterances"]) == 2.0
    # Anna has only 3; "b o" 4 in one fold and 2 in the other.
    assert float(table["saml", "4"]["train_utterances"]) == (3 + (4 + 2) / 2) / 2
    unlimited = rows(run(curve, own_size=None))
    assert float(unlimited["saml", ""]["train_utterances"]) == pytest.approx((3 + (5 + 2) / 2) / 2)


def test_arms_are_compared_at_the_same_number(curve: Tree) -> None:
    table = rows(run(curve))
    few = table["saml", "2"]
    assert (few["reference"], float(few["rel"])) == ("pqm", 1.0)
    assert [few[f"speakers_{how}"] for how in ("better", "worse", "equal")] == ["1", "0", "1"]
    assert float(few["rel_low"]) <= 1.0 <= float(few["rel_high"])
    assert table["pqm", "2"]["reference"] == table["nf4", "0"]["rel"] == "", "not against itself"
    assert {row["reference"] for row in rows(run(curve, reference=None)).values()} == {""}


def test_lines_lie_where_the_table_says(curve: Tree) -> None:
    figure = module.enrolment_curve(read_table(run(curve)))
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["pqm"].get_xdata()) == [2.0, 3.0]
    assert list(lines["pqm"].get_ydata()) == pytest.approx([10.0, 10.0])
    assert list(lines["saml"].get_ydata()) == pytest.approx([0.0, 10.0])
    assert set(lines["nf4"].get_ydata()) == {40.0} and set(lines["fp32"].get_ydata()) == {20.0}
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "3"]
    assert "2 target speakers cannot speak for all speakers." in figure.get_supxlabel()


def test_rows_are_sorted_by_the_number_of_utterances() -> None:
    rows = pd.DataFrame([[arm, 9] for arm in ("pqm", "saml")], columns=["arm", "size"])
    parts = [
        rows.assign(train_utterances=number).reindex(columns=module.ENROLMENT) for number in (5.0, 0.0, 2.5)
    ]
    table = module.enrolment_table(parts)
    assert table["train_utterances"].tolist() == [0.0, 0.0, 2.5, 2.5, 5.0, 5.0]
    assert table["arm"].tolist() == ["pqm", "saml"] * 3


def test_files_are_listed(curve: Tree) -> None:
    run(curve)
    names = {path.name for path in read_record(curve.root / "enrolment" / "run.jsonl").files}
    assert names == {"enrolment.csv", "enrolment.svg", "enrolment.png"}


def test_the_page_has_no_empty_numbers(curve: Tree) -> None:
    """Columns with missing values are read as floats."""
    run(curve, pages=curve.root / "pages")
    page = (curve.root / "pages" / "enrolment.html").read_text(encoding="utf-8")
    assert ">nan<" not in page.lower() and "<td>1, 0, 1</td>" in page


def test_missing_splits_are_named(curve: Tree) -> None:
    (curve.root / "data" / "speakers" / "anna" / "splits.json").unlink()
    with pytest.raises(SamlError, match=r"anna/splits\.json: cannot read these splits"):
        run(curve)
