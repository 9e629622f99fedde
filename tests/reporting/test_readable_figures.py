"""Figures can be read: no name on another, no legend on data, one panel where the scorers agree."""

import dataclasses
from itertools import combinations

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from saml.reporting import style
from saml.reporting.csv_tables import read_table
from saml.reporting.figures import FIGURES
from saml.reporting.report_data import Report
from saml.reporting.wer_by_size import groups, pareto_front, points, spread
from tests.reporting.results_tree import Tree, run

OF_RATES = ("wer_by_arm", "wer_by_speaker", "error_types")


@pytest.fixture
def report(small: Tree) -> Report:
    tables = run(small)
    read = [read_table(tables / f"{name}.csv") for name in ("wer", "summary", "comparisons", "intervals")]
    return Report(small.root, *read)


def many(report: Report, speakers: int) -> Report:
    """The report with the speaker "b o" many times over, each under a name of its own."""
    wer, intervals = (table[table["speaker"] != "anna"] for table in (report.wer, report.intervals))
    names = [f"{1000 + number}" for number in range(speakers)]
    copies = [
        pd.concat([table[table["speaker"] == ""], *(own(table).assign(speaker=name) for name in names)])
        for table in (wer, intervals)
    ]
    return Report(report.results, copies[0], report.summary, report.comparisons, copies[1])


def own(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["speaker"] == "b o"]


def drawn(name: str, report: Report) -> Figure:
    with style.style():
        figure = FIGURES[name](report)
        FigureCanvasAgg(figure).draw()
    return figure


def boxes(texts: list[Text]) -> list[Bbox]:
    """Where the texts are, without the lines that lead to them."""
    return [Text.get_window_extent(text) for text in texts if text.get_text()]


@pytest.mark.parametrize("name", list(FIGURES))
def test_legends_are_beside_the_panels(report: Report, name: str) -> None:
    figure = drawn(name, report)
    for axes in figure.axes:
        assert axes.get_legend() is None
        for legend in figure.legends:
            assert not legend.get_window_extent().overlaps(axes.get_window_extent())


@pytest.mark.parametrize("speakers", [3, 36, 60])
def test_names_of_speakers_do_not_overlap(report: Report, speakers: int) -> None:
    figure = drawn("wer_by_speaker", many(report, speakers))
    names = boxes(figure.axes[0].get_yticklabels())
    assert len(names) == speakers
    assert not any(one.overlaps(other) for one, other in combinations(names, 2))


def test_titles_and_numbers_of_many_arms_have_their_room(report: Report) -> None:
    """Six adapted arms; the counts are the longest titles."""
    arms = {"pqm": ["pqm", "pqm-wide", "nf4-lora"], "saml": ["saml", "saml-joint", "saml-output"]}
    tables = [report.wer, report.summary, report.intervals]
    for place, table in enumerate(tables):
        copies = [table[table["arm"] == old].assign(arm=new) for old, names in arms.items() for new in names]
        tables[place] = pd.concat([table[~table["arm"].isin(arms)], *copies])
    wer, summary, intervals = tables
    wide = many(Report(report.results, wer, summary, report.comparisons, intervals), 36)
    figure = drawn("before_after", wide)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 6
    assert {axes.get_title(loc="left") for axes in shown} >= {"0 better, 0 worse, 36 the same"}
    counts = [found for axes in shown for found in axes.findobj(Text) if "the same" in found.get_text()]
    titles = boxes(counts)
    assert not any(one.overlaps(other) for one, other in combinations(titles, 2))
    assert all(box.x1 <= figure.bbox.x1 for box in titles)
    for axes in shown:
        inside = axes.get_window_extent()
        assert all(inside.x0 < box.x0 and box.x1 < inside.x1 for box in boxes(list(axes.texts)))


def test_one_panel_where_both_scorers_say_the_same(report: Report) -> None:
    for name in [*OF_RATES, "reductions", "wer_by_size"]:
        figure = drawn(name, report)
        assert len(figure.axes) == 1
        assert "Scorer released; whisper agrees." in figure.get_supxlabel()


@pytest.mark.parametrize("name", OF_RATES)
def test_a_panel_each_where_two_arms_change_places(report: Report, name: str) -> None:
    """pqm and saml both have 10 %: one ahead under one scorer is no contradiction."""
    pqm, saml = (report.summary["arm"] == arm for arm in ("pqm", "saml"))
    released, whisper = (report.summary["scorer"] == scorer for scorer in report.scorers)
    report.summary.loc[pqm & whisper, "wer"] = 0.11
    assert len(drawn(name, report).axes) == 1
    report.summary.loc[saml & released, "wer"] = 0.11
    figure = drawn(name, report)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["scorer: released", "scorer: whisper"]
    assert "agrees" not in figure.get_supxlabel()


def test_a_panel_each_where_a_pair_is_significant_for_one_scorer(report: Report) -> None:
    report.comparisons.loc[:, ["rel_low", "rel_high"]] = [-0.1, 0.1]
    assert len(drawn("reductions", report).axes) == 1
    report.comparisons.loc[report.comparisons["scorer"] == "whisper", "rel_low"] = 0.05
    assert len(drawn("reductions", report).axes) == 2


def test_a_single_kind_of_error_is_not_a_figure(report: Report) -> None:
    report.wer.loc[:, ["deletions", "insertions"]] = 0
    (axes,) = drawn("error_types", report).axes
    assert [text.get_text() for text in axes.texts] == ["all errors are substitutions: see WER by arm"]


def test_a_given_base_model_has_no_panel(small: Tree, report: Report) -> None:
    small.losses("pretrained/saml/seed1", [1.5, 1.0], [1.6, 1.2], arm="saml", seed=1)
    figure = drawn("loss_curves", report)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["pre-training"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["saml"]


def test_sizes_are_of_the_model_and_one_adapter(report: Report) -> None:
    """The tree: 4 MB in full precision, 0.5 MB in NF4; 20 % and 40 % WER, 10 % with adapters."""
    found = points(report, "released")
    assert found == {
        "fp32": pytest.approx((4.0, 20)),
        "nf4": pytest.approx((0.5, 40)),
        "pqm": pytest.approx((0.5205, 10)),
        "saml": pytest.approx((0.5605, 10)),
    }
    figure = drawn("wer_by_size", report)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert {text.get_text().split()[0] for text in axes.texts} == set(found)
    assert "nf4 or pqm" in figure.get_suptitle()


def test_many_arms_of_the_front_are_not_listed(report: Report) -> None:
    """A fourth would run out of the title."""
    summary = report.summary.copy()
    summary["speaker_mb"] = summary["arm"].map({"fp32": 0, "nf4": 0, "pqm": 0.1, "saml": 0.2})
    summary["wer"] = summary["arm"].map({"fp32": 0.1, "nf4": 0.4, "pqm": 0.3, "saml": 0.2})
    figure = drawn("wer_by_size", dataclasses.replace(report, summary=summary))
    assert figure.get_suptitle().splitlines()[0].endswith("better than the ringed ones")


def test_names_of_points_at_one_place_do_not_overlap(report: Report) -> None:
    rows = [report.summary.assign(arm=report.summary["arm"] + suffix) for suffix in ("", "-wide", "-joint")]
    crowded = Report(report.results, report.wer, pd.concat(rows), report.comparisons, report.intervals)
    (axes,) = drawn("wer_by_size", crowded).axes
    names, inside = boxes(list(axes.texts)), axes.get_window_extent()
    assert len(names) == 12
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in names)
    assert not any(one.overlaps(other) for one, other in combinations(names, 2))


def test_the_front_leaves_out_arms_that_another_equals_or_beats_in_both() -> None:
    arms = {
        "big": (9.0, 30.0),
        "small": (2.0, 35.0),
        "best": (3.0, 10.0),
        "late": (4.0, 10.0),
        "twin": (3.0, 10.0),
    }
    assert set(pareto_front(arms)) == {"small", "best", "twin"}
    assert pareto_front({"alone": (1.0, 1.0)}) == ["alone"]
    assert groups(arms) == [["small"], ["best", "twin"], ["late"], ["big"]]


@pytest.mark.parametrize("heights", [[], [5.0], [5.0, 5.0, 5.0], [1.0, 9.0], [3.0, 1.0, 1.5, 8.0, 8.2, 3.1]])
def test_labels_keep_their_distance_and_order(heights: list[float]) -> None:
    placed = spread(heights, 1.0)
    in_order = [placed[index] for index in sorted(range(len(heights)), key=lambda index: heights[index])]
    for one, other in zip(in_order, in_order[1:], strict=False):
        assert other - one >= 1.0 - 1e-9
    assert sum(placed) == pytest.approx(sum(heights))  # moved apart, not away
