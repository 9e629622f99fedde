"""The output of `saml show`."""

import re

import pandas as pd
import pytest

from saml.reporting import print_tables
from saml.reporting.print_tables import aligned, show
from saml.reporting.wording import caveat, number_of, percent
from saml.runtime.errors import SamlError
from tests.reporting.results_tree import ARMS, Tree, run


def test_show_prints_the_table_the_caveat_and_where_to_look(
    small: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    run(small)
    show(small.root)
    text = capsys.readouterr().out
    lines = text.splitlines()
    row = re.split(" {2,}", next(line for line in lines if re.match("saml {2,}", line)))
    assert row[:3] == ["saml", "10.0", "50.0"] and row[5:] == ["0.50 + 0.06", "7.14x"]
    # Against fp32 with 20 % and nf4 with 40 %.
    assert row[3].startswith("50.0 [") and row[4].startswith("75.0 [")
    assert "2 target speakers cannot speak for all speakers." in text
    assert set(re.findall(r"^\S+ against \S+", text, re.MULTILINE)) == {"saml against pqm"}
    for place in ("tables", "figures", "snakemake --report", f"saml mlflow {small.root}"):
        assert place in text
    assert max(map(len, lines[:20])) <= 100
    assert "index.html" not in text
    (small.root / "index.html").touch()
    show(small.root)
    assert f"Start    {small.root / 'index.html'}" in capsys.readouterr().out


def test_outputs_that_looped_are_named_where_there_are_any(
    tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.weights("base", 10)
    tree.hypotheses(None, "fp32", 0, [])
    for guards in (["", ""], ["context", "blocked"]):
        lines = [("test", f"u{number}", "go on", "Go on.", 0, guard) for number, guard in enumerate(guards)]
        tree.hypotheses("anna", "fp32", 0, lines)
        run(tree, arms={"fp32": ARMS["fp32"]}, speakers=["anna"], pages=tree.root / "pages")
        show(tree.root)
        said = "Outputs that repeated themselves and were decoded again: 2 of fp32"
        assert (said in capsys.readouterr().out) == any(guards)
        page = (tree.root / "pages" / "summary.html").read_text()
        assert ("<th>looped</th>" in page) == any(guards) and "<th>formatted, %</th>" in page


def test_of_many_pairs_only_those_that_differ_are_printed(
    small: Tree, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(small)
    path = small.root / "tables" / "comparisons.csv"
    for low, high, said in ((0.1, 0.3, "saml against pqm"), (-0.1, 0.3, "none")):
        table = pd.read_csv(path)
        own = (table["arm_a"] == "saml") & (table["arm_b"] == "pqm")
        table.loc[own, ["rel_low", "rel_high"]] = low, high
        table.to_csv(path, index=False)
        monkeypatch.setattr(print_tables, "MOST_PAIRS", 0)
        show(small.root)
        section = capsys.readouterr().out.partition("Adapted arms in pairs")[2].partition("cannot speak")[0]
        assert "1 pair, all in comparisons.csv" in section and f"\n{said}" in section
        assert ("saml against pqm" in section) == (said != "none")


def test_show_prints_thirds_of_the_speakers(
    tree: Tree, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of nine speakers says one word more than the last; fp32 gets one of the words wrong."""
    tree.weights("base", 10)
    tree.hypotheses(None, "fp32", 0, [])
    speakers = [f"s{number}" for number in range(1, 10)]
    for number, speaker in enumerate(speakers, start=1):
        words = " ".join(["yes"] * number)
        tree.hypotheses(speaker, "fp32", 0, [("test", f"{speaker}-1", words, f"no{words[3:]}", 0)])
    run(tree, arms={"fp32": ARMS["fp32"]}, speakers=speakers)
    show(tree.root)
    lines = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert ["arm", "fewest errors (3)", "between (3)", "most errors (3)"] in lines
    # 3 errors in 7 + 8 + 9, in 4 + 5 + 6, in 1 + 2 + 3 words.
    assert ["fp32", "12.5", "20.0", "50.0"] in lines


def test_show_ends_with_two_sentences(small: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """The key number, as the table above has it, and where to look."""
    run(small)
    show(small.root)
    text = capsys.readouterr().out
    summary = pd.read_csv(small.root / "tables" / "summary.csv")
    rows = summary[summary["scorer"] == summary["scorer"][0]].set_index("arm")
    said = " ".join(text.rpartition("\n\n")[2].split())
    wer, full = (f"{100 * rows.loc[arm, 'wer']:.1f}" for arm in ("saml", "fp32"))
    assert said.startswith(
        f"Adapted to each of 2 target speakers, saml reaches a WER of {wer} % instead of {full} %"
    )
    low, high = (f"{100 * rows.loc['saml', name]:.1f}" for name in ("rel_fp32_low", "rel_fp32_high"))
    assert f"% [{low}, {high}]" in said
    assert said.endswith(
        f"The tables are in {small.root / 'tables'}; docs/reading-the-report.md says how to read them."
    )


def test_show_without_tables(small: Tree) -> None:
    with pytest.raises(SamlError, match=r"summary\.csv: no such table; run the experiment first"):
        show(small.root)


def test_aligned() -> None:
    assert aligned([["arm", "WER"], ["saml", "9.1"], ["a", "10.2"]]) == [
        "arm    WER",
        "----------",
        "saml   9.1",
        "a     10.2",
    ]


def test_counts_and_nouns() -> None:
    assert [number_of(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert caveat(1) == "1 target speaker cannot speak for all speakers."


def test_percent() -> None:
    assert (percent(0.1234), percent(float("nan")), percent(float("-inf"))) == ("12.3", "-", "-inf")
