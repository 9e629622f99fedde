"""The common style of all figures: colours of arms, axes, titles, files.

Colours are those of Okabe and Ito (arms) and Tol's muted set (kinds of error), which remain distinguishable
under the common colour-vision deficiencies; arms that are not adapted are grey.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#333333"
FAINT = "#888888"
BAND = "#f5f5f5"
ARMS = {
    "fp32": "#444444",
    "nf4": "#a0a0a0",
    "nf4-lora": "#e69f00",
    "pqm": "#0072b2",
    "saml": "#d55e00",
}
FURTHER_ARMS = ["#009e73", "#cc79a7", "#56b4e9", "#f0e442"]
ERRORS = {"substitutions": "#332288", "deletions": "#88ccee", "insertions": "#ddcc77"}

STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.titlesize": 12.0,
    "figure.titleweight": "bold",
    # The same SVG for the same figure: its ids are random otherwise.
    "svg.hashsalt": "saml",
}


@contextmanager
def style() -> Iterator[None]:
    """Figures drawn and written inside have the common style."""
    with matplotlib.rc_context(STYLE):
        yield


def colours(arms: Sequence[str]) -> dict[str, str]:
    """A colour for each arm; arms that are not in `ARMS` get the further colours in turn."""
    others = [arm for arm in arms if arm not in ARMS]
    further = {arm: FURTHER_ARMS[number % len(FURTHER_ARMS)] for number, arm in enumerate(others)}
    return {arm: ARMS.get(arm) or further[arm] for arm in arms}


def panels(
    columns: int, width: float, height: float, *, rows: int = 1, share: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with rows x columns axes, row by row."""
    engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(width, height), layout=engine)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    return figure, list(axes.flat)


def per_scorer(
    scorers: Sequence[str], names: Sequence[str], inches: float = 0.42
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each of `scorers` side by side, with a row of `inches` for each name."""
    width = 8.5 if len(scorers) == 1 else 10
    figure, axes = panels(len(scorers), width, 1.5 + inches * len(names), share=True)
    for panel, scorer in zip(axes, scorers, strict=True):
        name_rows(panel, names)
        if len(scorers) > 1:
            panel.set_title(f"scorer: {scorer}")
    return figure, axes


def legend(figure: Figure, axes: Axes) -> None:
    """The legend of `axes` in a column of its own at the right, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")


def from_zero(panels: Sequence[Axes], room: float) -> None:
    """The x axes of panels that share them: from 0 to `room` times the largest value in any of them.

    If set per panel, the first would set the limit for all, and longer bars of others would be cut off.
    """
    highest = max(axes.dataLim.x1 for axes in panels)
    for axes in panels:
        axes.set_xlim(0, room * (highest or 1.0))


def title(figure: Figure, text: str, note: str) -> None:
    """A title with the question of the figure, and a small note under it with the data it shows."""
    figure.suptitle(text, x=0.01, ha="left")
    figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=FAINT)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names down the y axis, the first at the top, with lines along the x axis only."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def placeholder(axes: Axes, text: str) -> None:
    """The reason for an empty panel."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT)


def write(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `<name>.svg` and `<name>.png`; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    figure.savefig(paths[0], metadata={"Date": None})
    figure.savefig(paths[1], dpi=150)
    return paths
