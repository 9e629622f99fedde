"""The figures of an experiment, drawn only from its tables and run records.

Each function draws one figure; `FIGURES` names them. A figure without data (such as recorded curves) is drawn
empty with a note, since a rule of the workflow expects its file.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.before_after import before_after
from saml.reporting.csv_tables import read_table
from saml.reporting.curves import draw_losses
from saml.reporting.report_data import Report
from saml.reporting.tables import INTERVALS
from saml.reporting.wording import caveat
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

BAR = 0.62


def figures(
    *,
    results: Path,
    experiment: str,
    wer: Path,
    summary: Path,
    comparisons: Path,
    output_dir: Path,
    record: Path,
    intervals: Path | None = None,
    tables_record: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: draw every figure of `FIGURES` as `output_dir/<name>.svg` and `.png`.

    Args:
        results: `results/<experiment>`, for the run records of trainings.
        experiment: its name.
        wer, summary, comparisons: the tables.
        output_dir: where the figures go.
        record: the run record to write.
        intervals: the table of WER intervals; without it there are no whiskers.
        tables_record: the tables' run record, merged so that one run has scores, tables and figures.
        settings, corpus, family: for the run record.

    Raises:
        SamlError: a table is missing or damaged.
    """
    run = RunRecord(stage="figures", experiment=experiment, settings=settings, corpus=corpus, family=family)
    if tables_record is not None:
        run.include(tables_record)
    none = pd.DataFrame(columns=INTERVALS)
    report = Report(
        results,
        read_table(wer),
        read_table(summary),
        read_table(comparisons),
        none if intervals is None else read_table(intervals),
    )
    with style.style(), Progress("figures", len(FIGURES)) as progress:
        for number, (name, draw) in enumerate(FIGURES.items(), start=1):
            for path in style.write(draw(report), output_dir, name):
                run.file(path)
            progress.update(number, name)
    run.write(record)


def wer_by_arm(report: Report) -> Figure:
    """WER of each arm with its interval, a panel per scorer."""
    figure, panels = _per_scorer(report, len(report.arms))
    colour = style.colours(report.arms)
    for axes, scorer in zip(panels, report.scorers, strict=True):
        for row, arm in enumerate(report.arms):
            rate = 100 * _summary(report, arm, scorer, "wer")
            low, high = report.whiskers(arm, "", scorer) or (rate, rate)
            axes.barh(row, rate, BAR, color=colour[arm])
            # On a white line, to be visible on a dark bar.
            axes.plot([low, high], [row, row], color="white", lw=3.4)
            axes.plot([low, high], [row, row], color=style.INK, lw=1.4)
            axes.annotate(
                f"{rate:.1f}", (max(rate, high), row), (5, 0), textcoords="offset points", va="center"
            )
        axes.set_xlabel("WER, %")
    style.from_zero(panels, 1.15)
    style.title(figure, "WER by arm: shorter is better", report.note())
    return figure


def reductions(report: Report) -> Figure:
    """Relative WER reductions between arms, with both intervals, a panel per scorer."""
    table = report.comparisons
    names = list(dict.fromkeys(zip(table["arm_a"], table["arm_b"], strict=True)))
    figure, panels = _per_scorer(report, len(names), [f"{a} against {b}" for a, b in names])
    colour = style.colours(report.arms)
    for axes, scorer in zip(panels, report.scorers, strict=True):
        for row, (one, other) in enumerate(names):
            # Rows of every other reference on grey, to group them.
            if list(dict.fromkeys(reference for _, reference in names)).index(other) % 2:
                axes.axhspan(row - 0.5, row + 0.5, color=style.BAND, lw=0, zorder=0)
            found = table[(table["arm_a"] == one) & (table["arm_b"] == other) & (table["scorer"] == scorer)]
            columns = ["rel", "rel_low", "rel_high", "rel_speakers_low", "rel_speakers_high"]
            # With a reference without errors a reduction is infinite: drawn at the edge, -200 %.
            value, *ends = np.clip(100 * found[columns].iloc[0].to_numpy(dtype=float), -200, 200)
            axes.plot(ends[2:], [row, row], color=colour[one], lw=1.2, solid_capstyle="butt")
            axes.plot(ends[:2], [row, row], color=colour[one], lw=4.5, solid_capstyle="butt")
            axes.plot(value, row, "o", color="white", markeredgecolor=colour[one], ms=7, mew=2)
        axes.axvline(0, color=style.INK, lw=1)
        axes.set_xlabel("WER reduction, %")
        if not names:
            style.placeholder(axes, "a single arm: no comparison")
    style.title(
        figure,
        "Relative WER reductions: positive if the first arm is better; bars across 0 are not significant",
        f"95 % intervals. Thick: utterances resampled. Thin: speakers too. {caveat(len(report.speakers))}",
    )
    return figure


def wer_by_speaker(report: Report) -> Figure:
    """WER of each speaker under each arm, sorted by the WER under the first arm, highest at the top."""
    scorers = report.scorers
    sums = report.wer.groupby(["scorer", "speaker", "arm"])[["words", *style.ERRORS]].sum()
    rate = 100 * sums[list(style.ERRORS)].sum(axis=1) / sums["words"]
    first = rate.loc[scorers[-1]].xs(report.arms[0], level="arm")
    speakers = [str(name) for name in first.sort_values(ascending=False, kind="stable").index]
    figure, panels = _per_scorer(report, len(speakers), speakers, inches=0.062 * len(report.arms) + 0.12)
    colour = style.colours(report.arms)
    offsets = np.linspace(-0.38, 0.38, len(report.arms)) if len(report.arms) > 1 else [0.0]
    for axes, scorer in zip(panels, scorers, strict=True):
        for row, speaker in enumerate(speakers):
            if row % 2:
                axes.axhspan(row - 0.5, row + 0.5, color=style.BAND, lw=0, zorder=0)
            for arm, offset in zip(report.arms, offsets, strict=True):
                value = float(rate.loc[(scorer, speaker, arm)])
                low_high = report.whiskers(arm, speaker, scorer) or (value, value)
                axes.plot(low_high, [row + offset] * 2, color=colour[arm], lw=1.1, alpha=0.6)
                axes.plot(value, row + offset, "o", color=colour[arm], ms=4, label=arm if row == 0 else None)
        axes.set_xlabel("WER, %")
    # Some room on the right: if all speakers are equal, matplotlib leaves almost none.
    style.from_zero(panels, 1.05)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    style.title(figure, "WER by speaker: for which speakers does an arm help?", report.note())
    return figure


def error_types(report: Report) -> Figure:
    """Substitutions, deletions and insertions per reference word, stacked, a panel per scorer."""
    figure, panels = _per_scorer(report, len(report.arms))
    kinds = list(style.ERRORS)
    for axes, scorer in zip(panels, report.scorers, strict=True):
        for row, arm in enumerate(report.arms):
            rows = report.wer[(report.wer["scorer"] == scorer) & (report.wer["arm"] == arm)]
            start = 0.0
            for kind in kinds:
                share = 100 * float(rows[kind].sum()) / float(rows["words"].sum())
                label = kind if row == 0 else None
                axes.barh(row, share, BAR, left=start, color=style.ERRORS[kind], label=label)
                start += share
        axes.set_xlabel("errors per 100 reference words")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    style.title(
        figure,
        "Kinds of error: which of them does adaptation remove?",
        "Their sum is the WER. Many deletions: speech is skipped; many insertions: text without speech.",
    )
    return figure


def loss_curves(report: Report) -> Figure:
    """Loss curves of every training; see `saml.reporting.curves`."""
    return draw_losses(report.results, report.arms, report.speakers, report.seeds)


def sizes(report: Report) -> Figure:
    """Megabytes of each arm: the shared model and the adapter of one speaker."""
    figure, (axes,) = style.panels(1, 8.5, 1.5 + 0.42 * len(report.arms))
    colour = style.colours(report.arms)
    style.name_rows(axes, report.arms)
    for row, arm in enumerate(report.arms):
        model, speaker, ratio = (
            _summary(report, arm, report.scorers[0], column)
            for column in ("model_mb", "speaker_mb", "ratio_fp32")
        )
        axes.barh(row, model, BAR, color=colour[arm])
        axes.barh(row, speaker, BAR, left=model, color=colour[arm], alpha=0.45)
        text = f"{model:.2f} MB" + (f" + {speaker:.2f} per speaker" if speaker else "")
        text += f", {ratio:.1f} times smaller" if ratio != 1 else ""
        axes.annotate(text, (model + speaker, row), (5, 0), textcoords="offset points", va="center")
    axes.set_xlabel("MB")
    axes.margins(x=0.25)
    axes.set_xlim(left=0)
    style.title(
        figure,
        "Sizes of arms: the shared model, and (pale) the adapter of one speaker",
        "File sizes, 1 MB = 10^6 bytes, routers and all experts included.",
    )
    return figure


# The figures by file name; the outputs of a rule are made from these names.
FIGURES: dict[str, Callable[[Report], Figure]] = {
    "wer_by_arm": wer_by_arm,
    "before_after": before_after,
    "reductions": reductions,
    "wer_by_speaker": wer_by_speaker,
    "error_types": error_types,
    "loss_curves": loss_curves,
    "sizes": sizes,
}


def _per_scorer(
    report: Report, rows: int, names: Sequence[str] | None = None, inches: float = 0.42
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel per scorer side by side, each with `rows` rows: `names`, else the arms."""
    figure, panels = style.panels(len(report.scorers), 10, 1.5 + inches * rows, share=True)
    for axes, scorer in zip(panels, report.scorers, strict=True):
        style.name_rows(axes, report.arms if names is None else names)
        axes.set_title(f"scorer: {scorer}")
    return figure, panels


def _summary(report: Report, arm: str, scorer: str, column: str) -> float:
    table = report.summary
    return float(table[(table["arm"] == arm) & (table["scorer"] == scorer)][column].iloc[0])
