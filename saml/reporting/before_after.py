"""The figure of who benefits: each speaker's WER before and after adaptation, one line each."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.report_data import Report
from saml.reporting.wording import caveat, number_of

BETTER, WORSE, EQUAL = "#0072b2", "#d55e00", "#888888"
# Panels side by side; further arms stand in further rows.
COLUMNS = 3
# The row of all words together among those of the speakers, whose ids are never empty.
POOLED = ""


def before_after(report: Report) -> Figure:
    """A panel for each adapted arm: lines from the first unadapted arm's WER to the arm's, one per speaker.

    Of the first scorer; words are pooled over seeds, and in the thick line over speakers.
    """
    arms = report.arms
    adapted = [arm for arm in arms if int(report.wer[report.wer["arm"] == arm]["seed"].max()) > 0]
    reference = next((arm for arm in arms if arm not in adapted), None)
    if reference is None or not adapted:
        figure, (axes,) = style.panels(1, 8.5, 3)
        style.placeholder(axes, "an arm without adaptation and one with it are needed")
        return figure
    rates = _rates(report.wer[report.wer["scorer"] == report.scorers[0]])
    columns = min(COLUMNS, len(adapted))
    rows = -(-len(adapted) // columns)
    figure, panels = style.panels(columns, max(6.5, 3.2 * columns), 0.9 + 4.1 * rows, rows=rows)
    highest = float(rates[[reference, *adapted]].max().max())
    for axes in panels[len(adapted) :]:
        axes.set_visible(False)
    for axes, arm in zip(panels, adapted, strict=False):
        _lines(axes, rates[reference], rates[arm])
        axes.set_xticks([0, 1], [reference, arm])
        axes.set_ylim(0, 1.05 * (highest or 1.0))
    for axes in panels[::columns]:
        axes.set_ylabel("WER, %")
    seeds = number_of(int(report.summary["seeds"].max()), "seed")
    style.title(
        figure,
        "Who benefits? WER of each speaker before and after adaptation",
        f"Scorer {report.scorers[0]}, {seeds}. Blue: fewer errors; orange: more. Black: all words together.\n"
        f"{caveat(len(report.speakers))}",
    )
    return figure


def counts(before: pd.Series, after: pd.Series) -> tuple[int, int, int]:
    """Numbers of speakers whose WER is lower, higher and the same after; the pooled one is left out."""
    difference = (after - before).drop(POOLED)
    return int((difference < 0).sum()), int((difference > 0).sum()), int((difference == 0).sum())


def _rates(wer: pd.DataFrame) -> pd.DataFrame:
    """WER in per cent, speakers by arms; the row POOLED has that of all words."""
    names = ["words", *style.ERRORS]
    sums = wer.groupby(["speaker", "arm"])[names].sum()
    pooled = pd.concat({POOLED: wer.groupby("arm")[names].sum()}, names=["speaker"])
    sums = pd.concat([sums, pooled])
    return (100 * sums[list(style.ERRORS)].sum(axis=1) / sums["words"]).unstack("arm")


def _lines(axes: Axes, before: pd.Series, after: pd.Series) -> None:
    speakers: Sequence[str] = [str(name) for name in before.index if name != POOLED]
    for speaker in speakers:
        ends = [float(before[speaker]), float(after[speaker])]
        colour = EQUAL if ends[0] == ends[1] else BETTER if ends[1] < ends[0] else WORSE
        axes.plot([0, 1], ends, color=colour, lw=1.1, alpha=0.75, marker="o", ms=3)
    ends = [float(before[POOLED]), float(after[POOLED])]
    axes.plot([0, 1], ends, color="black", lw=3, marker="o", ms=6)
    for place, value, side in ((0, ends[0], -1), (1, ends[1], 1)):
        axes.annotate(
            f"{value:.1f}",
            (place, value),
            (9 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontweight="bold",
        )
    better, worse, same = counts(before, after)
    axes.set_title(f"{better} better, {worse} worse, {same} the same", fontsize=9)
    axes.set_xlim(-0.5, 1.5)
    axes.grid(axis="x", visible=False)
