"""Figures show the numbers of tables and records, with or without optional data."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.before_after import POOLED, counts
from saml.reporting.csv_tables import read_table
from saml.reporting.curves import loss_curves, mean_curve
from saml.reporting.figures import FIGURES, figures, reductions, wer_by_arm
from saml.reporting.report_data import Report
from saml.reporting.tables import INTERVALS
from saml.runtime.errors import SamlError
from saml.tracking import RunRecord, read_record
from tests.reporting.results_tree import ARMS, Tree, run


def draw(tree: Tree, tables: Path, **changes: object) -> Path:
    folder = tree.root / "figures"
    files = {name: tables / f"{name}.csv" for name in ("wer", "summary", "comparisons", "intervals")}
    arguments = {
        "results": tree.root,
        "experiment": "mini",
        "output_dir": folder,
        "record": folder / "run.jsonl",
    }
    figures(**{**arguments, **files, **changes})
    return folder


@pytest.fixture
def trained(small: Tree) -> Tree:
    small.losses("models/base", [3.0, 2.0], [3.1, 2.5])
    small.losses("pretrained/saml/seed1/experts", [2.0], [2.2], arm="saml", seed=1)
    small.losses("pretrained/saml/seed1", [1.5, 1.0], [1.6, 1.2], arm="saml", seed=1)
    for speaker in ("anna", "b o", "gone"):
        where = small.folder(speaker, "saml", 1).relative_to(small.root)
        small.losses(str(where), [1.0, 0.5], [1.1, 0.9], arm="saml", speaker=speaker, seed=1)
    return small


def test_every_figure_is_written_twice_and_listed(trained: Tree) -> None:
    folder = draw(trained, run(trained))
    expected = {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    assert {path.name for path in folder.iterdir()} == expected | {"run.jsonl"}
    for name in FIGURES:
        assert ElementTree.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert {file.name for file in read_record(folder / "run.jsonl").files} == expected


def test_one_record_has_scores_tables_and_figures(trained: Tree) -> None:
    tables = run(trained, pages=trained.root / "pages")
    found = read_record(draw(trained, tables, tables_record=tables / "run.jsonl") / "run.jsonl")
    assert found.stage == "figures" and found.scores["saml/wer/whisper"] == pytest.approx(0.1)
    names = {file.name for file in found.files}
    assert {"summary.csv", "summary.html", "wer_by_arm.svg", "wer_by_arm.png"} <= names


def report(tree: Tree, tables: Path) -> Report:
    read = [read_table(tables / f"{name}.csv") for name in ("wer", "summary", "comparisons", "intervals")]
    return Report(tree.root, *read)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_curves_are_of_the_seeds_in_the_tables(trained: Tree) -> None:
    """Records of seeds that are no longer configured are ignored, like those of other arms and speakers."""
    found = report(trained, run(trained))
    before = [len(axes.lines) for axes in FIGURES["loss_curves"](found).axes]
    trained.losses("pretrained/saml/seed7", [1.5, 1.0], [1.6, 1.2], arm="saml", seed=7)
    where = trained.folder("anna", "saml", 7).relative_to(trained.root)
    trained.losses(str(where), [1.0, 0.5], [1.1, 0.9], arm="saml", speaker="anna", seed=7)
    assert [len(axes.lines) for axes in FIGURES["loss_curves"](found).axes] == before


def test_figures_without_curves_and_intervals(small: Tree) -> None:
    found = report(small, run(small))
    found = replace(found, intervals=found.intervals.iloc[:0])
    drawn = {name: draw(found) for name, draw in FIGURES.items()}
    assert texts(drawn["loss_curves"]) == ["no curve recorded"]
    assert not any(axes.axison for axes in drawn["loss_curves"].axes)  # numbers beside nothing
    assert "Whiskers" not in drawn["wer_by_arm"].get_supxlabel()


def test_one_arm_is_enough(small: Tree) -> None:
    found = report(small, run(small, arms={"fp32": ARMS["fp32"]}))
    drawn = {name: draw(found) for name, draw in FIGURES.items()}
    assert texts(drawn["reductions"]) == ["a single arm: no comparison"]


def test_bars_are_as_long_as_the_table_says(small: Tree) -> None:
    figure = wer_by_arm(report(small, run(small)))
    for axes in figure.axes:
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([20.0, 40.0, 10.0, 10.0])
        assert [text.get_text() for text in axes.texts] == ["20.0", "40.0", "10.0", "10.0"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["fp32", "nf4", "pqm", "saml"]
    assert "2 target speakers cannot speak for all speakers." in figure.get_supxlabel()


@pytest.mark.parametrize("worse", ["released", "whisper"])
def test_no_bar_is_cut_off_if_one_scorer_has_more_errors(small: Tree, worse: str) -> None:
    """The panels share their axis, whose limit is set by the longest bar of all panels."""
    found = report(small, run(small))
    found.summary.loc[found.summary["scorer"] == worse, "wer"] *= 2
    found.wer.loc[found.wer["scorer"] == worse, "substitutions"] += found.wer["words"]
    for name in ("wer_by_arm", "wer_by_speaker"):
        for axes in FIGURES[name](found).axes:
            assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > axes.dataLim.x1


def test_an_infinite_reduction_stays_on_the_page(small: Tree) -> None:
    tables = run(small)
    assert "-inf" in (tables / "comparisons.csv").read_text(), "the tree no longer has this case"
    figure = reductions(report(small, tables))
    low, high = figure.axes[0].get_xlim()
    assert -300 < low < high < 300


def test_reductions_have_thick_intervals_by_utterances_and_thin_ones_by_speakers(small: Tree) -> None:
    found = report(small, run(small))
    columns = ["rel", "rel_low", "rel_high", "rel_speakers_low", "rel_speakers_high"]
    found.comparisons[columns] = [0.2, 0.1, 0.3, -0.1, 0.6]
    thin, thick, point = reductions(found).axes[0].lines[:3]
    assert thin.get_xdata() == pytest.approx([-10, 60]) and thick.get_xdata() == pytest.approx([10, 30])
    assert thin.get_linewidth() < thick.get_linewidth()
    assert list(point.get_xdata()) == pytest.approx([20])


def test_the_speaker_with_the_highest_wer_is_at_the_top(small: Tree) -> None:
    """Under fp32 anna has 2 errors, "b o", the first in the tables, none."""
    axes = FIGURES["wer_by_speaker"](report(small, run(small))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["anna", "b o"]
    points = {line.get_label(): line for line in axes.lines if line.get_marker() == "o"}
    assert points["fp32"].get_xdata()[0] == pytest.approx(200 / 7)


def test_error_types_are_shares_of_reference_words(small: Tree) -> None:
    """Substitutions, deletions and insertions: 1, 1, 0 and 1, 3, 0 of 10 words; 0, 1, 1 and 0, 2, 0 of 20."""
    axes = FIGURES["error_types"](report(small, run(small))).axes[0]
    widths = [10, 10, 0, 10, 30, 0, 0, 5, 5, 0, 10, 0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(widths)
    assert [bar.get_x() for bar in axes.patches[:6]] == pytest.approx([0, 10, 20, 0, 10, 40])


def test_sizes_are_of_the_model_and_then_of_the_adapter(small: Tree) -> None:
    (axes,) = FIGURES["sizes"](report(small, run(small))).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(
        [4, 0, 0.5, 0, 0.5, 0.0205, 0.5, 0.0605]
    )
    assert axes.patches[-1].get_x() == pytest.approx(0.5)
    assert [text.get_text() for text in axes.texts] == [
        *["4.00 MB", "0.50 MB, 8.0 times smaller"],
        *["0.50 MB + 0.02 per speaker, 7.7 times smaller", "0.50 MB + 0.06 per speaker, 7.1 times smaller"],
    ]


def test_dev_losses_are_solid_and_training_losses_dashed(trained: Tree) -> None:
    base, *_, adaptation = FIGURES["loss_curves"](report(trained, run(trained))).axes
    lines = {line.get_linestyle(): list(line.get_ydata()) for line in base.lines}
    assert lines == {"--": [3.0, 2.0], "-": [3.1, 2.5]}
    # Means of training and dev, and one thin line for each of the two speakers of the tables.
    assert sorted(line.get_linestyle() for line in adaptation.lines) == ["-", "-", "-", "--"]


def test_whiskers_are_in_per_cent(small: Tree) -> None:
    found = report(small, run(small))
    assert found.whiskers("nf4", "", "released") == pytest.approx((100 / 3, 100 * 5 / 11), abs=1e-3)
    assert found.whiskers("nf4", "unknown", "released") is None
    assert list(found.intervals) == INTERVALS


def test_equal_points_are_not_on_the_edge(small: Tree) -> None:
    """Losses and rates that hardly differ, far from 0, on axes that start at 0."""
    small.losses("models/base", [4.41, 4.40], [4.42, 4.41])
    tables = run(small, arms={"fp32": ARMS["fp32"]})
    found = report(small, tables)
    found.wer.loc[:, ["substitutions", "deletions", "insertions"]] = [1, 0, 0]
    found.wer.loc[:, "words"] = 1
    found.intervals.loc[:, ["wer_low", "wer_high"]] = 1.0
    for axes in FIGURES["wer_by_speaker"](found).axes:
        assert axes.get_xlim() == pytest.approx((0, 105))
    base = FIGURES["loss_curves"](found).axes[0]
    assert base.get_ylim() == pytest.approx((0, 1.1 * 4.42))


def test_a_missing_table_is_named(small: Tree) -> None:
    tables = run(small)
    with pytest.raises(SamlError, match=r"nowhere\.csv: no such table"):
        draw(small, tables, summary=tables / "nowhere.csv")


def test_loss_curves_of_folds(tmp_path: Path) -> None:
    record = RunRecord(stage="adapt", experiment="synthetic")
    for fold in (0, 1):
        for step in (0, 1):
            record.curve(f"fold{fold}/dev/loss", step, 1.0 + fold - 0.5 * step)
    record.curve("dev/accuracy", 1, 0.5)
    record.write(tmp_path / "run.jsonl")
    found = loss_curves(read_record(tmp_path / "run.jsonl"), "dev")
    assert found == [([0, 1], [1.0, 0.5]), ([0, 1], [2.0, 1.5])]
    assert mean_curve(found) == ([0, 1], [1.5, 1.0])
    assert mean_curve([]) == ([], [])


def test_arms_have_different_colours() -> None:
    arms = ["fp32", "nf4", "nf4-lora", "pqm", "saml", "lora-big", "saml-output"]
    assert len(set(style.colours(arms).values())) == len(arms)


def test_each_speaker_has_a_line_from_before_to_after(small: Tree) -> None:
    """fp32: anna 2 errors of 5 words, "b o" none of 5. The black line is that of all words."""
    found = report(small, run(small))
    figure = FIGURES["before_after"](found)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xticklabels()[1].get_text() for axes in shown] == ["pqm", "saml"]
    anna, other, pooled = shown[0].lines
    wer = found.wer[found.wer["scorer"] == found.scorers[0]].set_index(["arm", "speaker"])
    for line, speaker in ((anna, "anna"), (other, "b o")):
        ends = []
        for arm in ("fp32", "pqm"):
            rows = wer.loc[[(arm, speaker)]]
            errors = rows[["substitutions", "deletions", "insertions"]].to_numpy().sum()
            ends.append(100 * errors / rows["words"].sum())
        assert list(line.get_ydata()) == pytest.approx(ends)
    assert list(pooled.get_ydata()) == pytest.approx([20.0, 10.0])


def test_the_figure_of_speakers_counts_who_got_better(small: Tree) -> None:
    found = report(small, run(small))
    errors = ["substitutions", "deletions", "insertions"]
    chosen = found.wer["arm"] == "saml"
    found.wer.loc[chosen, errors] = 0
    found.wer.loc[chosen & (found.wer["speaker"] == "b o"), "insertions"] = 1
    titles = [axes.get_title() for axes in FIGURES["before_after"](found).axes]
    assert titles[1] == "1 better, 1 worse, 0 the same"


def test_a_speaker_with_the_same_wer_is_neither_better_nor_worse() -> None:
    before = pd.Series({POOLED: 30.0, "ann": 20.0, "bob": 40.0, "eve": 30.0, "joe": 10.0})
    after = pd.Series({POOLED: 20.0, "ann": 20.0, "bob": 10.0, "eve": 10.0, "joe": 20.0})
    assert counts(before, after) == (2, 1, 1)
