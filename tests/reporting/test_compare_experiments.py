"""An arm in two experiments: rates counted by hand, intervals of one joint table, what cannot be compared."""

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest

from saml.cli.main import main
from saml.reporting.compare import DRAWS, SEED, compare
from saml.reporting.hypotheses import read_counts
from saml.reporting.pairs import Paired
from saml.runtime.errors import SamlError
from tests.reporting.results_tree import Tree, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def second(small: Tree) -> Tree:
    """A copy of the tree in which pqm makes no error, but two for "b o" with seed 1."""
    run(small)
    other = Tree(small.root.parent / "second")
    shutil.copytree(small.root, other.root)
    anna = [("test", "a1", "bin blue at f", "bin blue at f"), ("test", "a2", "set red now", "set red now")]
    for seed in (1, 2):
        other.hypotheses("anna", "pqm", seed, anna)
    other.hypotheses("b o", "pqm", 1, [("test", "b1", "lay green here", "lay")])
    run(other)
    return other


def compared(capsys: Capture, *given: object) -> tuple[dict[str, list[str]], str]:
    """The command's rows by "arm scorer", cells as they stand there, and the note under them on one line."""
    assert main(["compare", *map(str, given)]) == 0
    table, _, note = capsys.readouterr().out.partition("\n\n")
    head, _, *lines = table.splitlines()
    assert head.split("  ")[0] == "arm" and head.index("first, WER %") < head.index("second, WER %")
    rows = [line.split() for line in lines]
    return {" ".join(row[:2]): row[2:] for row in rows}, " ".join(note.split())


def test_rates_by_hand(small: Tree, second: Tree, capsys: Capture) -> None:
    """Words of both seeds: 14 of anna, 6 of "b o"; pqm has 2 errors in either experiment."""
    table, note = compared(capsys, small.root, second.root, "--arms", "pqm", "nf4")
    assert list(table) == ["nf4 released", "nf4 whisper", "pqm released", "pqm whisper"]
    for scorer in ("released", "whisper"):
        pqm, nf4 = table[f"pqm {scorer}"], table[f"nf4 {scorer}"]
        assert pqm[:3] == ["10.0", "10.0", "0.0"]
        # Anna is better in the second experiment, "b o" worse.
        assert pqm[-3:] == ["1,", "1,", "0"]
        # 4 errors of 10 words, unchanged.
        assert nf4[:3] == ["40.0", "40.0", "0.0"] and nf4[-3:] == ["0,", "0,", "2"]
    assert note.startswith(
        f"First: {small.root}; second: {second.root}. 3 test utterances of 2 speakers, seeds 1, 2."
    )


def test_the_second_is_compared_with_the_first(small: Tree, second: Tree, capsys: Capture) -> None:
    """Without the errors of "b o" the second experiment has none left."""
    second.hypotheses("b o", "pqm", 1, [("test", "b1", "lay green here", "lay green here")])
    run(second)
    table, _ = compared(capsys, small.root, second.root, "--arms", "pqm")
    assert table["pqm released"][:3] == ["10.0", "0.0", "100.0"]
    table, _ = compared(capsys, second.root, small.root, "--arms", "pqm")
    assert table["pqm released"][:2] == ["0.0", "10.0"]


def test_intervals_and_p_are_those_of_one_table_of_two_arms(
    small: Tree, second: Tree, capsys: Capture
) -> None:
    """As if pqm of the second experiment were another arm of the first, where `tabulate` compares them."""
    joint = {}
    for name, tree in {"before": small, "after": second}.items():
        counts = read_counts(tree.root, {"pqm": {"adapted": True}}, ["anna", "b o"], [1, 2], ["released"])
        joint[name] = counts[counts["part"] == "test"].assign(arm=name)
    expected = Paired(pd.concat(joint.values()), draws=DRAWS, seed=SEED).difference(
        "after", "before", "released"
    )
    table, _ = compared(capsys, small.root, second.root, "--arms", "pqm")
    numbers = [cell.strip("[,]") for cell in table["pqm released"][3:8]]
    low, high, across = expected.within.low, expected.within.high, expected.across
    assert low < high and (low, high) != (across.low, across.high), "cells that are alike would show nothing"
    assert numbers == [
        *[f"{100 * low:.1f}", f"{100 * high:.1f}", f"{expected.p:.4f}"],
        *[f"{100 * across.low:.1f}", f"{100 * across.high:.1f}"],
    ]


def keep(tree: Tree, **wanted: tuple[str, ...]) -> None:
    """Leave only rows of the table wer.csv with these values, as in an experiment that has no others."""
    path = tree.root / "tables" / "wer.csv"
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[name] in wanted[name] for name in wanted)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def test_only_what_both_have_counts(small: Tree, second: Tree, capsys: Capture) -> None:
    """Of seed 1 alone: 1 error of 10 words in the first experiment, the two of "b o" in the second."""
    keep(second, arm=("nf4", "pqm"), seed=("0", "1"))
    keep(small, scorer=("released",))
    table, note = compared(capsys, small.root, second.root)
    assert list(table) == ["nf4 released", "pqm released"]
    assert table["pqm released"][:3] == ["10.0", "20.0", "-100.0"] and "seed 1." in note
    keep(second, speaker=("b o",))
    table, note = compared(capsys, small.root, second.root)
    # "b o" alone: no error and two, of three words.
    assert table["pqm released"][:2] == ["0.0", "66.7"] and "1 test utterance of 1 speaker, seed 1." in note
    with pytest.raises(SamlError, match="--arms saml: not in both experiments, which have nf4, pqm"):
        compare(small.root, second.root, ["saml"])


def test_adapted_arms_want_a_common_seed(small: Tree, second: Tree, capsys: Capture) -> None:
    keep(small, seed=("0", "1"))
    keep(second, seed=("0", "2"))
    with pytest.raises(SamlError, match="no seed in common; only arms without adaptation: --arms fp32 nf4"):
        compare(small.root, second.root)
    table, note = compared(capsys, small.root, second.root, "--arms", "nf4")
    assert list(table) == ["nf4 released", "nf4 whisper"] and "2 speakers. A positive" in note


@pytest.mark.parametrize("column", ["arm", "speaker", "scorer"])
def test_nothing_in_common_is_said(small: Tree, second: Tree, column: str) -> None:
    one, two = {"arm": ("fp32", "nf4"), "speaker": ("anna", "b o"), "scorer": ("released", "whisper")}[column]
    keep(small, **{column: (one,)})
    keep(second, **{column: (two,)})
    with pytest.raises(SamlError, match=f"second have no {column} in common: there is nothing to compare"):
        compare(small.root, second.root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            ("test", "b2", "lay green here", "lay"),
            "utterance b1 of speaker b o is not tested in .*second; corpus and partition must be the same in "
            "both; see --common-utterances",
        ),
        (
            ("test", "b0", "lay green here", "lay"),
            "utterance b0 of speaker b o is not tested in .*synthetic; corp",
        ),
        (
            ("test", "b1", "lay green near", "lay"),
            "utterance b1 of speaker b o has another text in .*second; corpus and .* the same in both$",
        ),
    ],
)
def test_other_utterances_or_texts_cannot_be_compared(
    small: Tree, second: Tree, line: tuple, message: str
) -> None:
    for arm, seed in (("fp32", 0), ("nf4", 0), ("pqm", 1), ("pqm", 2), ("saml", 1), ("saml", 2)):
        second.hypotheses("b o", arm, seed, [line])
    run(second)
    with pytest.raises(SamlError, match=message):
        compare(small.root, second.root, ["pqm"])


def test_utterances_that_both_tested(small: Tree, second: Tree, capsys: Capture) -> None:
    """Of anna a1 alone, with no error; of "b o" all: the second has two errors in 2 * (4 + 3) words."""
    for arm, seed in (("fp32", 0), ("nf4", 0), ("pqm", 1), ("pqm", 2), ("saml", 1), ("saml", 2)):
        lines = [("test", "a1", "bin blue at f", "bin blue at f"), ("test", "a3", "set red", "blue")]
        second.hypotheses("anna", arm, seed, lines)
    run(second)
    table, note = compared(capsys, small.root, second.root, "--arms", "pqm", "--common-utterances")
    assert "2 test utterances of 2 speakers" in note
    assert table["pqm released"][:2] == ["0.0", "14.3"]
    for arm, seed in (("fp32", 0), ("nf4", 0), ("pqm", 1), ("pqm", 2), ("saml", 1), ("saml", 2)):
        second.hypotheses("anna", arm, seed, [("test", "a3", "set red", "set red")])
    run(second)
    with pytest.raises(SamlError, match="no utterance of speaker anna is tested in both"):
        compare(small.root, second.root, ["pqm"], common_utterances=True)


def test_a_table_older_than_the_hypotheses_is_refused(small: Tree, second: Tree) -> None:
    second.hypotheses("b o", "pqm", 2, [("test", "b1", "lay green here", "lay")])
    message = (
        r"second/tables/wer\.csv: older than the hypotheses of speaker b o, arm pqm, seed 2; finish the run"
    )
    with pytest.raises(SamlError, match=message):
        compare(small.root, second.root)


def test_a_missing_or_damaged_table_is_named(small: Tree, second: Tree, tmp_path: Path) -> None:
    with pytest.raises(SamlError, match=r"nothing/tables/wer\.csv: no such table; run the experiment first"):
        compare(small.root, tmp_path / "nothing")
    (second.root / "tables" / "wer.csv").write_text("arm,speaker,seed\npqm,anna,1\n")
    with pytest.raises(
        SamlError, match=r"second/tables/wer\.csv: column 'scorer' is missing; write this table"
    ):
        compare(small.root, second.root)
