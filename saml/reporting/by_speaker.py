"""The figure of single speakers: each one's WER under each arm, with its interval."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.agreement import with_other_order
from saml.reporting.report_data import Report

# Inches of a speaker's row: for its name, and for each arm.
NAME, ARM = 0.12, 0.05


def wer_by_speaker(report: Report) -> Figure:
    """WER of each speaker under each arm, sorted by the WER under the first arm, highest at the top."""
    shown, arms = with_other_order(report.summary), report.arms
    sums = report.wer.groupby(["scorer", "speaker", "arm"])[["words", *style.ERRORS]].sum()
    rate = 100 * sums[list(style.ERRORS)].sum(axis=1) / sums["words"]
    first = rate.loc[shown[0]].xs(arms[0], level="arm")
    speakers = [str(name) for name in first.sort_values(ascending=False, kind="stable").index]
    figure, panels = style.per_scorer(shown, speakers, inches=max(0.2, NAME + ARM * len(arms)))
    colour = style.colours(arms)
    offsets = np.linspace(-0.36, 0.36, len(arms)) if len(arms) > 1 else [0.0]
    for axes, scorer in zip(panels, shown, strict=True):
        _bands(axes, len(speakers))
        for row, speaker in enumerate(speakers):
            for arm, offset in zip(arms, offsets, strict=True):
                value = float(rate.loc[(scorer, speaker, arm)])
                low_high = report.whiskers(arm, speaker, scorer) or (value, value)
                axes.plot(low_high, [row + offset] * 2, color=colour[arm], lw=1.1, alpha=0.6)
                axes.plot(value, row + offset, "o", color=colour[arm], ms=4, label=arm if row == 0 else None)
        axes.set_xlabel("WER, %")
    # Some room on the right: if all speakers are equal, matplotlib leaves almost none.
    style.from_zero(panels, 1.05)
    style.legend(figure, panels[0])
    style.title(figure, "WER by speaker: for which speakers does an arm help?", report.note(shown))
    return figure


def _bands(axes: Axes, rows: int) -> None:
    """Every other row on grey, to keep a speaker's arms together."""
    for row in range(1, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color=style.BAND, lw=0, zorder=0)
