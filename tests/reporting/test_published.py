"""Experiments beside the published figures, which are marked as published."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from saml.cli.main import main
from saml.reporting.csv_tables import read_table
from saml.reporting.print_tables import show_published
from saml.reporting.published import PUBLISHED, Finished, published_sections, published_table
from saml.runtime.errors import SamlError
from tests.reporting.results_tree import Tree, run

ROOT = Path(__file__).parents[2]
# The abstracts' relative WER reductions against full precision, in per cent, of pqm and saml.
ABSTRACTS = {"whisper": ("15.1", "29.1"), "conformer": ("23.3", "31.1")}


def finished(tree: Tree, family: str) -> Path:
    """The tree's tables, of the corpus "mini" and this family, as an experiment of that name."""
    run(tree, experiment=f"mini-{family}", corpus="mini", family=family, pages=tree.root / "pages")
    (tree.root / "tables" / "run.jsonl").rename(tree.root / "tables" / "tables.jsonl")
    folder = tree.root.parent / f"mini-{family}"
    shutil.copytree(tree.root, folder)
    return folder


def summary(tree: Tree) -> pd.DataFrame:
    return read_table(run(tree) / "summary.csv")


@pytest.mark.parametrize("family", ABSTRACTS)
def test_arms_are_beside_the_figures_of_their_family(small: Tree, family: str) -> None:
    table = published_table([Finished("mine", "an4", family, summary(small))])
    assert list(table) == PUBLISHED
    mine = published_sections(table)[f"mine ({family} on an4), scorer: released"].set_index("arm")
    assert list(mine.index) == ["fp32", "nf4", "pqm", "saml"]
    column = mine["published: reduction vs fp32, %"]
    assert column.tolist() == ["-", "-", *ABSTRACTS[family]]
    assert mine["published: times smaller"].tolist() == ["-", "-", "7", "7"]
    # Measured, by hand: 2 of 10 words wrong in full precision, 4 as NF4, 2 of 20 with saml (see EXPECTED).
    assert mine.loc["saml", "reduction vs fp32, %"].startswith("50.0 [")
    assert mine.loc["saml", "reduction vs nf4, %"].startswith("75.0 [")
    assert mine.loc["nf4", "reduction vs fp32, %"].startswith("-100.0 [")
    assert mine["times smaller"].tolist()[:2] == ["1.00", "8.00"]


def test_other_families_have_no_published_figures(small: Tree) -> None:
    table = published_table([Finished("mine", "an4", "transducer", summary(small))])
    assert table[["published_rel_fp32", "published_ratio_fp32"]].isna().all(axis=None)


def test_configurations_and_the_table_name_the_same_figures() -> None:
    for corpus in ("librispeech", "tedlium3"):
        for family, figures in ABSTRACTS.items():
            head = (ROOT / "config" / f"{corpus}-{family}.yaml").read_text().partition("experiment:")[0]
            assert re.findall(r"(?:PQM|SAML) ([\d.]+) %", head) == list(figures)


def test_the_page_of_an_experiment_marks_what_is_published(small: Tree) -> None:
    page = (finished(small, "whisper") / "pages" / "published.html").read_text(encoding="utf-8")
    assert "mini-whisper (whisper on mini), scorer: released" in page
    for figure in ABSTRACTS["whisper"]:
        assert f"<td>{figure}</td>" in page
    assert "<th>published: reduction vs fp32, %</th>" in page
    assert "are not measured here" in page and "2 target speakers cannot speak for all speakers." in page


def test_several_experiments_in_one_table(small: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """As a shell expands results/*: folders that are not experiments are skipped."""
    folders = [finished(small, family) for family in ABSTRACTS]
    store = small.root.parent / "mlflow"
    store.mkdir()
    page = small.root / "published.html"
    assert main(["show-published", *map(str, [*folders, store]), "--page", str(page)]) == 0
    text = capsys.readouterr().out
    for family, (_, of_saml) in ABSTRACTS.items():
        section = text.partition(f"mini-{family} ({family} on mini), scorer: whisper")[2]
        row = next(line for line in section.splitlines() if line.startswith("saml "))
        assert row.split()[:2] == ["saml", "10.0"] and f" {of_saml} " in row
    assert "are not measured here" in text
    assert max(map(len, text.splitlines())) <= 140
    assert all(f"<td>{of_saml}</td>" in page.read_text() for _, of_saml in ABSTRACTS.values())


def test_missing_and_damaged_files_are_named(small: Tree) -> None:
    with pytest.raises(SamlError, match=r"results/synthetic: no summary to print"):
        show_published([small.root])
    folder = finished(small, "whisper")
    (folder / "tables" / "summary.csv").write_bytes(b"\0")
    with pytest.raises(SamlError, match=r"mini-whisper/tables/summary\.csv: cannot read this table"):
        show_published([folder])
    (folder / "tables" / "tables.jsonl").unlink()
    with pytest.raises(SamlError, match=r"tables\.jsonl: cannot read this run record"):
        show_published([folder])
