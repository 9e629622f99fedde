"""An arm in two experiments: rates and reductions counted by hand, and what cannot be compared."""

import shutil
from pathlib import Path

import pytest
from results_tree import Tree, run

from saml.reporting.compare import compare
from saml.runtime.errors import SamlError


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
    return other


def lines_of(text: str) -> dict[str, list[str]]:
    """The rows of the table under the scorer `released`: the cells of each arm."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: row for row in rows if row[1:2] == ["released"]}


def test_rates_and_reductions_by_hand(small: Tree, second: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """Words of both seeds: 14 of anna, 6 of "b o"; pqm has 2 errors in either experiment."""
    compare(small.root, second.root, ["pqm", "nf4"])
    found = capsys.readouterr().out
    table = lines_of(found)
    assert list(table) == ["nf4", "pqm"]
    assert table["pqm"][2:5] == ["10.0", "10.0", "0.0"]
    # Anna is better in the second experiment, "b o" worse.
    assert table["pqm"][-3:] == ["1,", "1,", "0"]
    # 4 errors of 10 words, unchanged.
    assert table["nf4"][2:5] == ["40.0", "40.0", "0.0"] and table["nf4"][-3:] == ["0,", "0,", "2"]
    assert "3 test utterances of 2 speakers, seed 1, 2" in " ".join(found.split())


def test_the_second_is_compared_with_the_first(
    small: Tree, second: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the errors of "b o" the second experiment has none left."""
    second.hypotheses("b o", "pqm", 1, [("test", "b1", "lay green here", "lay green here")])
    compare(small.root, second.root, ["pqm"])
    assert lines_of(capsys.readouterr().out)["pqm"][2:5] == ["10.0", "0.0", "100.0"]
    compare(second.root, small.root, ["pqm"])
    assert lines_of(capsys.readouterr().out)["pqm"][2:4] == ["0.0", "10.0"]


def test_arms_of_one_experiment_are_left_out(
    small: Tree, second: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    table = second.root / "tables" / "wer.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if ",saml," not in line and ",fp32," not in line))
    compare(small.root, second.root)
    assert list(lines_of(capsys.readouterr().out)) == ["nf4", "pqm"]
    with pytest.raises(SamlError, match="--arms saml: not in both experiments, which have nf4, pqm"):
        compare(small.root, second.root, ["saml"])


def keep_seed(tree: Tree, seed: int) -> None:
    """Leave only arms without adaptation, and this seed, in the table."""
    table = tree.root / "tables" / "wer.csv"
    head, *lines = table.read_text().splitlines(keepends=True)
    place = head.strip().split(",").index("seed")
    kept = [line for line in lines if line.split(",")[place] in ("0", str(seed))]
    table.write_text(head + "".join(kept))


def test_seeds_of_one_experiment_are_left_out(
    small: Tree, second: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of seed 1 alone: 1 error of 10 words in the first, the two of "b o" in the second."""
    keep_seed(second, 1)
    compare(small.root, second.root, ["pqm"])
    assert lines_of(capsys.readouterr().out)["pqm"][2:5] == ["10.0", "20.0", "-100.0"]


def test_adapted_arms_want_a_common_seed(
    small: Tree, second: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_seed(small, 1)
    keep_seed(second, 2)
    with pytest.raises(SamlError, match="no seed in common: only arms without adaptation"):
        compare(small.root, second.root)
    compare(small.root, second.root, ["nf4"])
    assert list(lines_of(capsys.readouterr().out)) == ["nf4"]


@pytest.mark.parametrize(
    "line", [("test", "b2", "lay green here", "lay"), ("test", "b1", "lay green", "lay")], ids=["id", "text"]
)
def test_other_utterances_or_texts_cannot_be_compared(small: Tree, second: Tree, line: tuple) -> None:
    for seed in (1, 2):
        second.hypotheses("b o", "pqm", seed, [line])
    with pytest.raises(SamlError, match="second: speaker b o was tested on different utterances or texts"):
        compare(small.root, second.root, ["pqm"])


def test_an_experiment_without_tables_is_named(small: Tree, tmp_path: Path) -> None:
    run(small)
    with pytest.raises(SamlError, match=r"nothing/tables/wer\.csv: no such table; run the experiment first"):
        compare(small.root, tmp_path / "nothing")
