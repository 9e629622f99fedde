"""Analysis of routers: the experts used for each speaker, and how well routes separate speakers.

Both tables are of the pre-trained adapters, before any adaptation, so all speakers share the same router.

routing.csv   one row per arm, seed, layer, speaker and expert
    weight       the mean over the speaker's utterances
    effective    effective number of experts: the mean of exp(entropy); 1 is one expert, E a uniform mixture
routers.csv   one row per arm, seed and kind of router (and `all`, the concatenated routes of all layers)
    effective    as above, the mean over utterances and layers
    explained    the share of the variance of routes explained by the speaker (cross-validated R2; 0 or below:
                 none); empty if all utterances have the same route
    p            one-sided permutation test: how often shuffled speaker labels have as much variance between
                 speakers
    accuracy     of a linear speaker classifier, cross-validated
    chance       accuracy of always choosing the most frequent speaker
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import entropy

from saml.reporting import style
from saml.reporting.csv_tables import read_by_speaker, write_table
from saml.reporting.pages import router_sections, routing_sections, write_page
from saml.reporting.routing_map import KINDS, kind_of, routing_map
from saml.reporting.separation import speaker_separation
from saml.runtime import layout
from saml.runtime.layout import place
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

ROUTING = ["arm", "seed", "layer", "speaker", "utterances", "expert", "weight", "effective"]
ROUTERS = [
    *["arm", "seed", "kind", "layers", "experts", "speakers", "utterances", "effective"],
    *["explained", "p", "accuracy", "chance"],
]


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
    """Stage: write the two tables and draw the weights as output_dir/routing.svg and .png.

    Args:
        results: `results/<experiment>`.
        experiment: its name.
        arms: the arms with routers.
        speakers: the target speakers.
        seeds: the seeds of pre-training.
        settings: {"scoring": {"seed"}}, for the permutations.
        routing, routers: the tables to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the tables as HTML pages; none if left out.
        corpus, family: for the run record.

    Raises:
        SamlError: a table of routes is missing or damaged.
    """
    run = RunRecord(stage="routing", experiment=experiment, settings=settings, corpus=corpus, family=family)
    weights, separation = [], []
    with Progress("routing", len(arms) * len(seeds)) as progress:
        for arm in arms:
            for seed in seeds:
                routes = read_routes(results, arm, seed, speakers)
                weights.append(mean_weights(routes, speakers).assign(arm=arm, seed=seed))
                table = router_table(routes, settings["scoring"]["seed"])
                separation.append(table.assign(arm=arm, seed=seed))
                progress.update(progress.done + 1, f"{arm}, seed {seed}")
    by_speaker, by_router = pd.concat(weights)[ROUTING], pd.concat(separation)[ROUTERS]
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
        for name in ("explained", "accuracy"):
            if not np.isnan(row[name]):
                run.score(f"routes/{name}/{row['arm']}/seed{row['seed']}", row[name])
    run.write(record)


def read_routes(results: Path, arm: str, seed: int, speakers: Sequence[str]) -> pd.DataFrame:
    """The routes of all speakers: columns speaker, utterance, layer, expert1, expert2, ...

    Raises:
        SamlError: a speaker's table is missing, damaged or empty.
    """
    paths = {
        speaker: place(results, layout.ROUTES, arm=arm, seed=seed, speaker=speaker) / "routes.csv"
        for speaker in speakers
    }
    return read_by_speaker(paths, ["utterance", "layer"], "routes")


def mean_weights(routes: pd.DataFrame, speakers: Sequence[str]) -> pd.DataFrame:
    """routing.csv of one adapter: a row for each layer, speaker and expert."""
    experts = _experts(routes)
    routes = routes.assign(effective=effective_experts(routes[experts].to_numpy()))
    rows = []
    for layer, of_layer in routes.groupby("layer", sort=False):
        for speaker in speakers:
            own = of_layer[of_layer["speaker"] == speaker]
            for number, expert in enumerate(experts, start=1):
                numbers = [len(own), number, own[expert].mean(), own["effective"].mean()]
                rows.append([layer, speaker, *numbers])
    return pd.DataFrame(rows, columns=["layer", "speaker", "utterances", "expert", "weight", "effective"])


def router_table(routes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """routers.csv of one adapter: all layers together, then each kind of router."""
    rows = []
    for kind, layers in _kinds(routes):
        chosen = routes[routes["layer"].isin(layers)]
        # One row per utterance: the concatenated weights of its layers.
        wide = chosen.pivot(index=["speaker", "utterance"], columns="layer", values=_experts(routes))
        speakers = wide.index.get_level_values("speaker").to_numpy()
        effective = effective_experts(chosen[_experts(routes)].to_numpy()).mean()
        head = [kind, len(layers), len(_experts(routes)), len(set(speakers)), len(wide), effective]
        rows.append([*head, *speaker_separation(wide.to_numpy(), speakers, seed)])
    return pd.DataFrame(rows, columns=ROUTERS[2:])


def effective_experts(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The effective number of experts of each row of `weights` `(rows, experts)`: exp of its entropy."""
    numbers: NDArray[np.float64] = np.exp(entropy(weights, axis=1))
    return numbers


def _pages(folder: Path, by_speaker: pd.DataFrame, by_router: pd.DataFrame) -> list[Path]:
    """Both tables as pages in `folder`; their paths."""
    paths = [folder / "routers.html", folder / "routing.html"]
    before = "Pre-trained adapters, before any adaptation: all speakers share the same router."
    separation = (
        f"{before} Effective experts: 1 is a single expert. Explained variance and the accuracy of a speaker "
        "classifier are cross-validated; p is of a permutation test on the variance between speakers."
    )
    write_page(
        paths[0], "Separation of speakers by routers", separation, router_sections(by_router), by_router
    )
    weights = f"{before} Per cent of the weight, the mean over a speaker's utterances."
    write_page(paths[1], "Weights by speaker and expert", weights, routing_sections(by_speaker), by_speaker)
    return paths


def _experts(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if str(name).startswith("expert")]


def _kinds(routes: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """`all` and each existing kind, with its layers.

    A decoder that is routed by its input has no routes of whole utterances.
    """
    layers = [str(layer) for layer in dict.fromkeys(routes["layer"])]
    yield "all", layers
    for kind in KINDS:
        if own := [layer for layer in layers if kind_of(layer) == kind]:
            yield kind, own
