"""What routers do: which experts each speaker's speech is sent to, and whether that tells speakers apart.

Both tables are of the pre-trained adapters, before any adaptation, so all speakers meet the same router.

routing.csv   one row per arm, seed, layer, speaker and expert
    weight       the mean over the speaker's utterances
    effective    how many experts are mixed: the mean of exp(entropy); 1 is one expert, E an even mixture
routers.csv   one row per arm, seed and kind of router (and `all`, the routes of all layers side by side)
    effective    as above, the mean over utterances and layers
    explained    the share of the variance of routes that knowing the speaker explains in utterances that were
                 left out (cross-validated R2, 0 or below where the speaker says nothing); empty where all
                 utterances have the same route
    p            one-sided: how often speakers have as much of the variance between them after shuffling whose
                 utterances they are
    recognised   the share of left-out utterances whose speaker a linear classifier names rightly
    chance       what naming the same speaker every time would reach
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from saml.corpora.registry import folder_name
from saml.reporting import style
from saml.reporting.pages import router_sections, routing_sections, write_page
from saml.reporting.tables import caveat, write_table
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress

ROUTING = ["arm", "seed", "layer", "speaker", "utterances", "expert", "weight", "effective"]
ROUTERS = [
    *["arm", "seed", "kind", "layers", "experts", "speakers", "utterances", "effective"],
    *["explained", "p", "recognised", "chance"],
]
KINDS = {
    "encoder_self": "encoder self-attention",
    "decoder_self": "decoder self-attention",
    "cross": "cross-attention",
}
# Panels side by side.
COLUMNS = 3
FOLDS = 5
PERMUTATIONS = 999


def routing(
    *,
    results: Path,
    experiment: str,
    arms: Sequence[str],
    speakers: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    routing: Path,
    routers: Path,
    output_dir: Path,
    record: Path,
    pages: Path | None = None,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: make the two tables and draw the weights as output_dir/routing.svg and .png.

    Args:
        results: results/<experiment>.
        experiment: its name.
        arms: the arms whose routers are shown.
        speakers: the target speakers.
        seeds: the seeds of pre-training.
        settings: {"scoring": {"seed"}}, of the permutations.
        routing, routers: the tables to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the tables as pages; where it is left out there are none.
        corpus, family: for the run record.

    Raises:
        SamlError: a table of routes is missing or damaged.
    """
    from saml.tracking import RunRecord

    run = RunRecord(stage="routing", experiment=experiment, settings=settings, corpus=corpus, family=family)
    weights, judged = [], []
    with Progress("routing", len(arms) * len(seeds)) as progress:
        for arm in arms:
            for seed in seeds:
                routes = read_routes(results, arm, seed, speakers)
                weights.append(mean_weights(routes, speakers).assign(arm=arm, seed=seed))
                judged.append(judge_routers(routes, settings["scoring"]["seed"]).assign(arm=arm, seed=seed))
                progress.update(progress.done + 1, f"{arm}, seed {seed}")
    by_speaker, by_router = pd.concat(weights)[ROUTING], pd.concat(judged)[ROUTERS]
    for table, path in ((by_speaker, routing), (by_router, routers)):
        write_table(table, path)
        run.file(path)
    if pages is not None:
        for path in _pages(pages, by_speaker, by_router):
            run.file(path)
    with style.style():
        for path in style.write(routing_map(by_speaker, by_router), output_dir, "routing"):
            run.file(path)
    for row in by_router[by_router["kind"] == "all"].to_dict("records"):
        for name in ("explained", "recognised"):
            if not np.isnan(row[name]):
                run.score(f"routes/{name}/{row['arm']}/seed{row['seed']}", row[name])
    run.write(record)


def read_routes(results: Path, arm: str, seed: int, speakers: Sequence[str]) -> pd.DataFrame:
    """The routes of all speakers: columns speaker, utterance, layer, expert1, expert2, ...

    Raises:
        SamlError: a speaker's table is missing, damaged or empty.
    """
    tables = []
    for speaker in speakers:
        folder = results / "pretrained" / arm / f"seed{seed}" / "routes" / folder_name(speaker)
        path = folder / "routes.csv"
        try:
            table = pd.read_csv(path, dtype={"utterance": str, "layer": str}, keep_default_na=False)
            weights = table[_experts(table)].astype(float)
        except (OSError, ValueError) as error:
            raise SamlError(f"{path}: cannot read these routes ({error}); route the speaker again") from None
        if weights.empty:
            raise SamlError(f"{path}: nothing was routed here; route the speaker again")
        tables.append(table.assign(speaker=speaker))
    return pd.concat(tables, ignore_index=True)


def mean_weights(routes: pd.DataFrame, speakers: Sequence[str]) -> pd.DataFrame:
    """routing.csv of one adapter: a row for each layer, speaker and expert."""
    experts = _experts(routes)
    routes = routes.assign(effective=effective_experts(routes[experts].to_numpy()))
    rows = []
    for layer, of_layer in routes.groupby("layer", sort=False):
        for speaker in speakers:
            mine = of_layer[of_layer["speaker"] == speaker]
            for number, expert in enumerate(experts, start=1):
                numbers = [len(mine), number, mine[expert].mean(), mine["effective"].mean()]
                rows.append([layer, speaker, *numbers])
    return pd.DataFrame(rows, columns=["layer", "speaker", "utterances", "expert", "weight", "effective"])


def judge_routers(routes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """routers.csv of one adapter: all layers side by side, then each kind of router."""
    rows = []
    for kind, layers in _kinds(routes):
        chosen = routes[routes["layer"].isin(layers)]
        # One row an utterance: the weights of its layers side by side.
        wide = chosen.pivot(index=["speaker", "utterance"], columns="layer", values=_experts(routes))
        speakers = wide.index.get_level_values("speaker").to_numpy()
        effective = effective_experts(chosen[_experts(routes)].to_numpy()).mean()
        head = [kind, len(layers), len(_experts(routes)), len(set(speakers)), len(wide), effective]
        rows.append([*head, *told_apart(wide.to_numpy(), speakers, seed)])
    return pd.DataFrame(rows, columns=ROUTERS[2:])


def effective_experts(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many experts each row of `weights` `(rows, experts)` mixes: exp of its entropy."""
    from scipy.stats import entropy

    numbers: NDArray[np.float64] = np.exp(entropy(weights, axis=1))
    return numbers


def told_apart(
    routes: NDArray[np.float64], speakers: NDArray[np.str_], seed: int
) -> tuple[float, float, float, float]:
    """`explained`, `p`, `recognised` and `chance` of utterances' routes `(utterances, weights)`.

    All but `chance` are NaN where there is one speaker, or one who has a single utterance.
    """
    from sklearn.linear_model import LinearRegression, RidgeClassifier
    from sklearn.metrics import r2_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names, who, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    chance = float(counts.max() / counts.sum())
    folds = min(FOLDS, int(counts.min()))
    if len(names) < 2 or folds < 2:
        return np.nan, np.nan, np.nan, chance
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(routes, who))
    # Scaled, since a penalty on the weights would else make small differences between routes nothing.
    classifier = make_pipeline(StandardScaler(), RidgeClassifier())
    recognised = float(cross_val_score(classifier, routes, who, cv=parts).mean())
    if (routes == routes[0]).all():
        return np.nan, np.nan, recognised, chance
    # On one-hot speakers this is each speaker's mean route.
    means = LinearRegression(fit_intercept=False)
    guessed = cross_val_predict(means, np.eye(len(names))[who], routes, cv=parts)
    explained = float(r2_score(routes, guessed, multioutput="variance_weighted"))
    return explained, _shuffled(routes, who, seed), recognised, chance


def _shuffled(routes: NDArray[np.float64], who: NDArray[np.intp], seed: int) -> float:
    """How often shuffled speakers have as much of the routes' variance between them as the real ones."""
    from scipy.stats import permutation_test

    centred, counts = routes - routes.mean(axis=0), np.bincount(who)

    def between(labels: NDArray[np.intp], axis: int) -> NDArray[np.float64]:
        """The share of variance between speakers, of `labels` `(..., utterances)`."""
        assert axis == -1
        members = (labels[..., None] == np.arange(len(counts))).astype(np.float64)
        sums = np.einsum("...us,uw->...sw", members, centred)  # utterances, speakers, weights
        share: NDArray[np.float64] = (sums**2 / counts[:, None]).sum(axis=(-2, -1)) / (centred**2).sum()
        return share

    found = permutation_test(
        (who,),
        between,
        permutation_type="pairings",
        alternative="greater",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=10,
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _pages(folder: Path, by_speaker: pd.DataFrame, by_router: pd.DataFrame) -> list[Path]:
    """Both tables as pages in `folder`; their paths."""
    paths = [folder / "routers.html", folder / "routing.html"]
    before = "Pre-trained adapters, before any adaptation: all speakers meet the same router."
    judged = (
        f"{before} Experts mixed: 1 is one expert alone. Variance explained, and speakers named rightly by a "
        "classifier, are of utterances left out; p says how often shuffled speakers differ as much."
    )
    write_page(paths[0], "Do routers tell speakers apart?", judged, router_sections(by_router), by_router)
    weights = f"{before} Per cent of the weight, the mean over a speaker's utterances."
    write_page(paths[1], "Weights by speaker and expert", weights, routing_sections(by_speaker), by_speaker)
    return paths


def routing_map(weights: pd.DataFrame, routers: pd.DataFrame) -> Figure:
    """Mean weights by speaker and expert: rows of panels an arm, a panel for each layer that has routes.

    Only the first seed is drawn: the experts of another seed are other experts.
    """
    seed = int(weights["seed"].iloc[0])
    speakers = list(dict.fromkeys(weights["speaker"]))
    first = weights[weights["seed"] == seed]
    arms = {str(arm): list(dict.fromkeys(mine["layer"])) for arm, mine in first.groupby("arm", sort=False)}
    rows = {arm: -(-len(layers) // COLUMNS) for arm, layers in arms.items()}
    height = 1.4 + sum(rows.values()) * (1.1 + 0.24 * len(speakers))
    figure, panels = style.panels(COLUMNS, 10, height, rows=sum(rows.values()))
    for arm, layers in arms.items():
        own, panels = panels[: rows[arm] * COLUMNS], panels[rows[arm] * COLUMNS :]
        judged = routers[(routers["arm"] == arm) & (routers["seed"] == seed)].set_index("kind")
        for number, (axes, layer) in enumerate(zip(own, layers, strict=False)):
            mine = first[(first["arm"] == arm) & (first["layer"] == layer)]
            grid = mine.pivot(index="speaker", columns="expert", values="weight").loc[speakers]
            _heat(axes, grid)
            # The encoder's layers come first, in order.
            name = KINDS.get(layer, f"encoder layer {number + 1}")
            router: Any = judged.loc[_kind(layer)]
            axes.set_title(f"{arm}: {name}\n{_verdict(mine, router)}", fontsize=8)
            if number % COLUMNS:
                axes.set_yticklabels([])
        for axes in own[len(layers) :]:
            axes.remove()
    style.title(
        figure,
        "Routing: is each speaker's speech sent to experts of its own?",
        f"Per cent of the weight, before adaptation, seed {seed}; in the decoder all layers of a kind are "
        f"routed alike. {caveat(len(speakers))}",
    )
    return figure


def _heat(axes: Axes, grid: pd.DataFrame) -> None:
    """Speakers down, experts across, per cent in the cells."""
    weights = grid.to_numpy()
    # Dark is much for so many experts: an even mixture is pale, also where nothing rises above it.
    darkest = max(float(weights.max()), min(1.0, 3 / weights.shape[1]))
    axes.imshow(weights, vmin=0.0, vmax=darkest, cmap="Oranges", aspect="auto")
    for (row, column), weight in np.ndenumerate(weights):
        colour = "white" if weight > 0.6 * darkest else style.INK
        axes.text(column, row, f"{100 * weight:.0f}", ha="center", va="center", fontsize=7, color=colour)
    style.listed(axes, list(grid.index))
    axes.set_ylim(len(grid) - 0.5, -0.5)
    axes.set_xticks(range(len(grid.columns)), [str(expert) for expert in grid.columns])
    axes.set_xlabel("expert")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _verdict(mine: pd.DataFrame, judged: pd.Series) -> str:
    """How many experts a layer mixes, and how well the routes of its router name the speaker."""
    mixed = float(mine.drop_duplicates("speaker")["effective"].mean())
    text = f"{mixed:.1f} of {judged['experts']} experts mixed"
    if np.isnan(judged["recognised"]):
        return text
    whole = "all layers: " if judged["layers"] > 1 else ""
    rates = f"{100 * judged['recognised']:.0f} %, by chance {100 * judged['chance']:.0f} %"
    return f"{text}\n{whole}speaker named: {rates}"


def _experts(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if str(name).startswith("expert")]


def _kind(layer: str) -> str:
    """The kind of router that routes a layer: those of the encoder share one, by another name each."""
    return layer if layer in KINDS else "encoder_self"


def _kinds(routes: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """`all` and each kind that there is, with the layers that belong to it.

    A decoder that is routed by its input has no routes of whole utterances.
    """
    layers = [str(layer) for layer in dict.fromkeys(routes["layer"])]
    yield "all", layers
    for kind in KINDS:
        if own := [layer for layer in layers if _kind(layer) == kind]:
            yield kind, own
