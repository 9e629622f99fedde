"""The figures of an experiment, drawn only from its tables and run records.

Each function draws one figure; `FIGURES` names them. A figure without data (such as recorded curves) is drawn
empty with a note, since a rule of the workflow expects its file.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.agreement import with_other_order, with_other_verdicts
from saml.reporting.before_after import before_after
from saml.reporting.by_speaker import wer_by_speaker
from saml.reporting.csv_tables import read_table
from saml.reporting.curves import draw_losses
from saml.reporting.report_data import Report
from saml.reporting.tables import INTERVALS
from saml.reporting.wer_by_size import wer_by_size
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
    """WER of each arm with its interval."""
    shown = with_other_order(report.summary)
    figure, panels = style.per_scorer(shown, report.arms)
    colour = style.colours(report.arms)
    for axes, scorer in zip(panels, shown, strict=True):
        for row, arm in enumerate(report.arms):
            rate = report.rate(arm, scorer)
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
    style.title(figure, "WER by arm: shorter is better", report.note(shown))
    return figure


def reductions(report: Report) -> Figure:
    """Relative WER reductions between arms, with both intervals."""
    table = report.comparisons
    names = list(dict.fromkeys(zip(table["arm_a"], table["arm_b"], strict=True)))
    shown = with_other_verdicts(table) or report.scorers[:1]
    figure, panels = style.per_scorer(shown, [f"{a} against {b}" for a, b in names])
    colour = style.colours(report.arms)
    for axes, scorer in zip(panels, shown, strict=True):
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
        "Relative WER reductions: right of 0 the first arm is better; bars across 0 are not significant",
        f"95 % intervals. Thick: utterances resampled. Thin: speakers too. {report.about_scorers(shown)}\n"
        f"{caveat(len(report.speakers))}",
    )
    return figure


def error_types(report: Report) -> Figure:
    """Substitutions, deletions and insertions per reference word, stacked; nothing for a single kind."""
    kinds = [kind for kind in style.ERRORS if report.wer[kind].any()]
    if len(kinds) < 2:
        figure, (axes,) = style.panels(1, 8.5, 2)
        what = f"all errors are {kinds[0]}: see WER by arm" if kinds else "no arm makes an error"
        style.placeholder(axes, what)
        axes.set_axis_off()
        return figure
    shown = with_other_order(report.summary)
    figure, panels = style.per_scorer(shown, report.arms)
    for axes, scorer in zip(panels, shown, strict=True):
        rows = report.wer[report.wer["scorer"] == scorer]
        _kinds(axes, rows.groupby("arm")[["words", *kinds]].sum().loc[report.arms])
    style.legend(figure, panels[0])
    style.title(
        figure,
        "Kinds of error: which of them does adaptation remove?",
        f"{report.about_scorers(shown)} The sum of all kinds is the WER.\n"
        "Many deletions: speech is skipped. Many insertions: text without speech.",
    )
    return figure


def _kinds(axes: Axes, counts: pd.DataFrame) -> None:
    """A row of bars for each arm, which is a row of `counts`: words, then errors of each kind."""
    for row, (words, *errors) in enumerate(counts.to_numpy().tolist()):
        start = 0.0
        for kind, number in zip(counts.columns[1:], errors, strict=True):
            share = 100 * number / words
            label = kind if row == 0 else None
            axes.barh(row, share, BAR, left=start, color=style.ERRORS[kind], label=label)
            start += share
    axes.set_xlabel("errors per 100 reference words")


def loss_curves(report: Report) -> Figure:
    """Loss curves of every training; see `saml.reporting.curves`."""
    return draw_losses(report.results, report.arms, report.speakers, report.seeds)


def sizes(report: Report) -> Figure:
    """Megabytes of each arm: the shared model and the adapter of one speaker."""
    figure, (axes,) = style.panels(1, 8.5, 1.5 + 0.42 * len(report.arms))
    colour = style.colours(report.arms)
    style.name_rows(axes, report.arms)
    by_arm = report.summary.drop_duplicates("arm").set_index("arm")[["model_mb", "speaker_mb", "ratio_fp32"]]
    for row, (model, speaker, ratio) in enumerate(by_arm.loc[report.arms].to_numpy().tolist()):
        arm = report.arms[row]
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
    "wer_by_size": wer_by_size,
    "reductions": reductions,
    "wer_by_speaker": wer_by_speaker,
    "error_types": error_types,
    "loss_curves": loss_curves,
    "sizes": sizes,
}
