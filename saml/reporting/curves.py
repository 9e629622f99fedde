"""Loss curves of all trainings of an experiment, from its run records."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from saml.reporting import style
from saml.runtime import layout
from saml.tracking import Record, read_record

# Points of one curve: steps and values.
Curve = tuple[list[int], list[float]]
COLUMNS = 3


def draw_losses(results: Path, arms: Sequence[str], speakers: Sequence[str], seeds: Sequence[int]) -> Figure:
    """Base training, expert initialisation and pre-training by arm, and adaptation, a panel per adapted arm.

    Records of other arms, speakers and seeds (of an earlier config) are ignored.
    """
    colour = style.colours(arms)
    base = list(_records(results, layout.fill(layout.MODEL, model="base")))

    def selected(pattern: str) -> list[Record]:
        records = _records(results, pattern)
        return [record for record in records if record.arm in arms and record.seed in seeds]

    experts, pretrained = selected(layout.EXPERTS), selected(layout.PRETRAINED)
    adapted = [one for one in selected(layout.ADAPTED) if one.speaker in speakers]
    adapted_arms = [arm for arm in arms if any(one.arm == arm and loss_curves(one, "dev") for one in adapted)]
    trainings = {
        "base model": [(one, style.INK) for one in base],
        "expert initialisation": [(one, colour[str(one.arm)]) for one in experts],
        "pre-training": [(one, colour[str(one.arm)]) for one in pretrained],
    }
    # A given base model has no curves. Without any training at all, one panel says so.
    trainings = {name: stages for name, stages in trainings.items() if any(map(_has_curves, stages))}
    if not trainings and not adapted_arms:
        trainings = {"": []}
    count = len(trainings) + len(adapted_arms)
    rows = -(-count // COLUMNS)
    figure, panels = style.panels(COLUMNS, 10, 1.0 + 2.5 * rows, rows=rows)
    for axes in panels[count:]:
        axes.remove()
    for axes, (name, stages) in zip(panels, trainings.items(), strict=False):
        _training(axes, name, stages)
    shared = panels[len(trainings) : count]
    for axes, arm in zip(shared, adapted_arms, strict=True):
        axes.sharey(shared[0])
        _adaptation(axes, arm, colour[arm], [one for one in adapted if one.arm == arm])
    for axes in panels[:count]:
        _from_zero(axes)
    trained = {one.arm for one in [*experts, *pretrained]} | set(adapted_arms)
    if named := [arm for arm in arms if arm in trained]:
        handles = [Line2D([], [], color=colour[arm], lw=1.6, label=arm) for arm in named]
        figure.legend(handles=handles, loc="outside right upper")
    style.title(
        figure,
        "Losses: does the dev loss still fall, or rise again?",
        "Solid: dev. Dashed: training. Adaptation: a thin line per speaker, fold and seed; dark: their mean.",
    )
    return figure


def loss_curves(record: Record, part: str) -> list[Curve]:
    """The curves `<part>/loss` of a record: one, or one for each fold (named `<prefix>/<part>/loss`)."""
    curves: dict[str, Curve] = {}
    for point in record.points:
        if f"/{point.name}".endswith(f"/{part}/loss"):
            steps, values = curves.setdefault(point.name, ([], []))
            steps.append(point.step)
            values.append(point.value)
    return list(curves.values())


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over curves at each step of any curve."""
    at: dict[int, list[float]] = {}
    for steps, values in curves:
        for step, value in zip(steps, values, strict=True):
            at.setdefault(step, []).append(value)
    return sorted(at), [float(np.mean(at[step])) for step in sorted(at)]


def _records(results: Path, template: str) -> Iterator[Record]:
    for path in sorted(results.glob(f"{layout.pattern(template)}/run.jsonl")):
        yield read_record(path)


def _has_curves(stage: tuple[Record, str]) -> bool:
    return any(loss_curves(stage[0], part) for part in ("train", "dev"))


def _training(axes: Axes, name: str, stages: Sequence[tuple[Record, str]]) -> None:
    """A panel of trainings, each a record with its colour."""
    for record, colour in stages:
        for part, line in (("train", "--"), ("dev", "-")):
            for steps, values in loss_curves(record, part):
                axes.plot(steps, values, line, color=colour, lw=1.6)
    _finish(axes, name)


def _adaptation(axes: Axes, arm: str, colour: str, records: Sequence[Record]) -> None:
    for part, line in (("train", "--"), ("dev", "-")):
        curves = [curve for record in records for curve in loss_curves(record, part)]
        if part == "dev":
            for steps, values in curves:
                axes.plot(steps, values, line, color=colour, lw=0.7, alpha=0.4)
        # Dark: it would be invisible among a hundred lines of its own colour.
        axes.plot(*mean_curve(curves), line, color=style.INK, lw=2.0, zorder=3)
    _finish(axes, f"adaptation: {arm}")


def _finish(axes: Axes, name: str) -> None:
    axes.set_title(name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.locator_params(axis="x", integer=True)
    if not axes.lines:
        style.placeholder(axes, "no curve recorded")
        axes.set_axis_off()


def _from_zero(axes: Axes) -> None:
    """Losses from 0 to slightly above the highest, so that flat curves do not lie on the edge."""
    drawn = [panel for panel in axes.get_shared_y_axes().get_siblings(axes) if panel.lines]
    axes.set_ylim(0, 1.1 * max((panel.dataLim.y1 for panel in drawn), default=1.0))
