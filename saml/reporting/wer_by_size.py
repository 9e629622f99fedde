"""The figure of the method's promise: word error rate against the megabytes that ship for one user."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from saml.reporting import style
from saml.reporting.report_data import Report

# An arm's megabytes and its WER in per cent.
Point = tuple[float, float]
# The least distance of two labels, as a share of the height of the axes.
LABEL_GAP = 0.055
# Factors of size: up to which arms count as about the same; from a point to its name; from the points to the
# edges, with names at both sides.
SAME_SIZE, BESIDE, ROOM = 1.15, 1.05, 2.2
# A title has room for so many arms.
MOST_NAMED = 3


def wer_by_size(report: Report) -> Figure:
    """WER with its interval against model plus one adapter; the arms on the Pareto front are joined."""
    shown = _scorers(report)
    figure, panels = style.panels(len(shown), 8.5 if len(shown) == 1 else 11, 5, share=True)
    for axes, scorer in zip(panels, shown, strict=True):
        _draw(axes, report, scorer)
        if len(shown) > 1:
            axes.set_title(f"scorer: {scorer}")
    panels[0].set_ylabel("WER, %")
    front = pareto_front(points(report, shown[0]))
    style.title(
        figure,
        "WER against size: no other arm is both smaller and better than " + _listed(front),
        f"Lower left is better. Ringed and joined: the Pareto front. {report.note(shown)}",
    )
    return figure


def points(report: Report, scorer: str) -> dict[str, Point]:
    """Each arm's megabytes for one user (the model and one adapter) and WER in per cent."""
    rows = report.summary[report.summary["scorer"] == scorer]
    return {
        str(row["arm"]): (float(row["model_mb"] + row["speaker_mb"]), 100 * float(row["wer"]))
        for row in rows.to_dict("records")
    }


def pareto_front(found: Mapping[str, Point]) -> list[str]:
    """The arms, by size, that no other arm equals or beats in both size and WER, and beats in one of them."""

    def beaten(arm: str) -> bool:
        size, rate = found[arm]
        return any(
            other[0] <= size and other[1] <= rate and other != (size, rate) for other in found.values()
        )

    return sorted((arm for arm in found if not beaten(arm)), key=lambda arm: found[arm])


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights of labels: those of their points, moved apart until neighbours are at least `gap` apart."""
    order = np.argsort(heights, kind="stable")
    placed = np.asarray(heights, dtype=float)[order]
    # Stacks of labels that touch, each a list of indices; a stack is centred on its points.
    stacks = [[index] for index in range(len(placed))]
    centres = placed.tolist()
    position = 1
    while position < len(stacks):
        lower, upper = stacks[position - 1], stacks[position]
        if centres[position] - centres[position - 1] < gap * (len(lower) + len(upper)) / 2:
            stacks[position - 1 : position + 1] = [lower + upper]
            centres[position - 1 : position + 1] = [float(placed[lower + upper].mean())]
            position = max(1, position - 1)
        else:
            position += 1
    result = np.empty(len(placed))
    for stack, centre in zip(stacks, centres, strict=True):
        result[order[stack]] = centre + gap * (np.arange(len(stack)) - (len(stack) - 1) / 2)
    return [float(height) for height in result]


def _scorers(report: Report) -> list[str]:
    """The first scorer, and those with another Pareto front."""
    first, *others = report.scorers
    front = set(pareto_front(points(report, first)))
    return [first, *(other for other in others if set(pareto_front(points(report, other))) != front)]


def _draw(axes: Axes, report: Report, scorer: str) -> None:
    found, colour = points(report, scorer), style.colours(report.arms)
    front = pareto_front(found)
    sizes, rates = zip(*(found[arm] for arm in front), strict=True)
    axes.step(sizes, rates, where="post", color=style.FAINT, lw=1.2, ls=":", zorder=1)
    highest = 0.0
    for arm, (size, rate) in found.items():
        low, high = report.whiskers(arm, "", scorer) or (rate, rate)
        highest = max(highest, high)
        axes.plot([size, size], [low, high], color=colour[arm], lw=1.6, alpha=0.7)
        ring = style.INK if arm in front else colour[arm]
        axes.plot(size, rate, "o", color=colour[arm], ms=8, markeredgecolor=ring, mew=1.8, zorder=3)
    axes.set_xscale("log")
    megabytes = [size for size, _ in found.values()]
    axes.set_xlim(min(megabytes) / ROOM, max(megabytes) * ROOM)
    axes.set_ylim(0, 1.08 * (highest or 1.0))
    for number, arms in enumerate(groups(found)):
        # The smallest at the left of their points, all others at the right.
        _label(axes, {arm: found[arm] for arm in arms}, left=number == 0)
    _ticks(axes)


def groups(found: Mapping[str, Point]) -> list[list[str]]:
    """The arms of about the same size, whose names stand one above the other; the smallest first."""
    joined: list[list[str]] = []
    for arm in sorted(found, key=lambda name: found[name][0]):
        if joined and found[arm][0] < SAME_SIZE * found[joined[-1][0]][0]:
            joined[-1].append(arm)
        else:
            joined.append([arm])
    return joined


def _label(axes: Axes, found: Mapping[str, Point], *, left: bool) -> None:
    """The arms' names and rates beside their points, which are of about the same size."""
    sizes = [size for size, _ in found.values()]
    column = min(sizes) / BESIDE if left else max(sizes) * BESIDE
    heights = spread([rate for _, rate in found.values()], LABEL_GAP * axes.get_ylim()[1])
    for (arm, point), height in zip(found.items(), heights, strict=True):
        axes.annotate(
            f"{arm}  {point[1]:.1f}",
            point,
            (column, height),
            ha="right" if left else "left",
            va="center",
            arrowprops={"arrowstyle": "-", "color": style.FAINT, "lw": 0.7, "shrinkA": 0, "shrinkB": 5},
        )


def _ticks(axes: Axes) -> None:
    """Round megabytes along a logarithmic axis, at most eight."""
    axes.set_xlabel("MB for one user (the model and one adapter), logarithmic")
    low, high = axes.get_xlim()
    steps = [factor * 10.0**power for power in range(-6, 7) for factor in (1, 1.5, 2, 3, 5, 7)]
    ticks = [step for step in steps if low <= step <= high]
    axes.set_xticks(ticks[:: -(-len(ticks) // 8)])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()


def _listed(arms: Sequence[str]) -> str:
    if len(arms) > MOST_NAMED:
        return "the ringed ones"
    return " or ".join([", ".join(arms[:-1]), arms[-1]] if len(arms) > 1 else arms)
