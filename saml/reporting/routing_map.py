"""The figure of routing: the mean weight of each expert for each speaker, and what it says in its title."""

import textwrap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.wording import caveat

KINDS = {
    "encoder_self": "encoder self-attention",
    "decoder_self": "decoder self-attention",
    "cross": "cross-attention",
}


class Panels(NamedTuple):
    """How many panels lie side by side, and inches: for the row of a speaker, and for the whole width."""

    columns: int
    row: float
    width: float


# Cells of up to FEW speakers have numbers, those of more are coloured only: the figure would be too high.
FEW, NUMBERS, COLOURS = 12, Panels(3, 0.24, 10), Panels(6, 0.05, 13)
# Characters of a line of the title, for each inch.
CHARACTERS = 8.8
# Below SINGLE effective experts an arm uses one alone; above EVEN, a share of all experts, it mixes evenly.
SINGLE, EVEN = 1.5, 0.9
# A p below is significant.
SIGNIFICANT = 0.05


def routing_map(weights: pd.DataFrame, routers: pd.DataFrame) -> Figure:
    """Mean weights by speaker and expert: rows of panels per arm, a panel for each layer with routes.

    Only the first seed is drawn: experts of different seeds do not correspond.
    """
    seed = int(weights["seed"].iloc[0])
    speakers = list(dict.fromkeys(weights["speaker"]))
    first = weights[weights["seed"] == seed]
    arms = {str(arm): list(dict.fromkeys(group["layer"])) for arm, group in first.groupby("arm", sort=False)}
    many = len(speakers) > FEW
    columns, row, width = COLOURS if many else NUMBERS
    characters = round(CHARACTERS * width)
    between = "\n" if many else " "
    rows = {arm: -(-len(layers) // columns) for arm, layers in arms.items()}
    height = 1.4 + sum(rows.values()) * (1.1 + row * len(speakers))
    figure, panels = style.panels(columns, width, height, rows=sum(rows.values()))
    for arm, layers in arms.items():
        own, panels = panels[: rows[arm] * columns], panels[rows[arm] * columns :]
        by_kind = routers[(routers["arm"] == arm) & (routers["seed"] == seed)].set_index("kind")
        for number, (axes, layer) in enumerate(zip(own, layers, strict=False)):
            rows_of_layer = first[(first["arm"] == arm) & (first["layer"] == layer)]
            grid = rows_of_layer.pivot(index="speaker", columns="expert", values="weight").loc[speakers]
            (_shades if many else _heat)(axes, grid)
            # The encoder's layers come first, in order.
            name = KINDS.get(layer, f"encoder layer {number + 1}")
            router: Any = by_kind.loc[kind_of(layer)]
            summary = _effective(rows_of_layer, router) if many else _summary(rows_of_layer, router)
            axes.set_title(f"{arm}:{between}{name}\n{summary}", fontsize=8)
            if number % columns:
                axes.set_yticklabels([])
        for axes in own[len(layers) :]:
            axes.remove()
    style.title(
        figure,
        "\n".join(textwrap.fill(f"Routing: {finding(arm, routers, seed)}", characters) for arm in arms),
        f"{'The darker, the more' if many else 'Per cent'} of the weight, before adaptation, seed {seed}; "
        f"in the decoder all layers of a kind share their routes. {caveat(len(speakers))}",
    )
    return figure


def finding(arm: str, routers: pd.DataFrame, seed: int) -> str:
    """What the routes of an arm say in one sentence: does it mix experts, does it separate speakers?

    It mixes if more than one and a half experts are effective, evenly from nine tenths of all. It separates
    speakers if the permutation test is significant and routes tell speakers apart better than chance.
    """
    rows = routers[(routers["arm"] == arm) & (routers["seed"] == seed) & (routers["kind"] == "all")]
    router: dict[Any, Any] = rows.to_dict("records")[0]
    effective, experts = router["effective"], router["experts"]
    share = f"{effective:.1f} of {experts} experts"
    if effective < SINGLE:
        mixing = f"{arm} does not mix ({share})"
    else:
        mixing = f"{arm} mixes {share}{' almost evenly' if effective > EVEN * experts else ''}"
    if np.isnan(router["accuracy"]):
        return f"{mixing}; there is too little speech to tell whether it separates speakers"
    if np.isnan(router["p"]):
        return f"{mixing} and routes all speech alike"
    separates = router["p"] < SIGNIFICANT and router["accuracy"] > router["chance"]
    rates = f"{100 * router['accuracy']:.0f} % recognised, chance {100 * router['chance']:.0f} %"
    if separates and effective < SINGLE:
        return f"{mixing}, yet its routes separate speakers ({rates})"
    return f"{mixing} and {'separates' if separates else 'does not separate'} speakers ({rates})"


def _heat(axes: Axes, grid: pd.DataFrame) -> None:
    """Speakers down, experts across, per cent in the cells."""
    weights = grid.to_numpy()
    # The scale depends on the number of experts, so that a uniform mixture is always pale.
    darkest = max(float(weights.max()), min(1.0, 3 / weights.shape[1]))
    axes.imshow(weights, vmin=0.0, vmax=darkest, cmap="Oranges", aspect="auto")
    for (row, column), weight in np.ndenumerate(weights):
        colour = "white" if weight > 0.6 * darkest else style.INK
        axes.text(column, row, f"{100 * weight:.0f}", ha="center", va="center", fontsize=7, color=colour)
    style.name_rows(axes, list(grid.index))
    axes.set_ylim(len(grid) - 0.5, -0.5)
    _name_experts(axes, grid)


def _shades(axes: Axes, grid: pd.DataFrame) -> None:
    """Many speakers down, experts across: white is no weight, the darkest colour all of it."""
    axes.imshow(grid.to_numpy(), vmin=0.0, vmax=1.0, cmap="Oranges", aspect="auto")
    axes.set_yticks([len(grid) / 2 - 0.5], [f"{len(grid)} speakers"], rotation=90, va="center")
    _name_experts(axes, grid)


def _name_experts(axes: Axes, grid: pd.DataFrame) -> None:
    axes.set_xticks(range(len(grid.columns)), [str(expert) for expert in grid.columns])
    axes.set_xlabel("expert")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _effective(layer: pd.DataFrame, router: pd.Series) -> str:
    """The effective experts of a layer."""
    effective = float(layer.drop_duplicates("speaker")["effective"].mean())
    return f"{effective:.1f} of {router['experts']} effective experts"


def _summary(layer: pd.DataFrame, router: pd.Series) -> str:
    """The effective experts of a layer, and the accuracy of the speaker classifier on its router's routes."""
    text = _effective(layer, router)
    if np.isnan(router["accuracy"]):
        return text
    layers = "all layers: " if router["layers"] > 1 else ""
    rates = f"{100 * router['accuracy']:.0f} %, chance {100 * router['chance']:.0f} %"
    return f"{text}\n{layers}speaker classified: {rates}"


def kind_of(layer: str) -> str:
    """The kind of router of a layer: all layers of the encoder share one."""
    return layer if layer in KINDS else "encoder_self"
