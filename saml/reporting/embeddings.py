"""Separation of speakers in the encoder outputs: silhouettes and t-SNE maps, of SAML and of one LoRA.

embeddings.csv has one row per arm, seed and adapter (`none`: not adapted; `pretrained`: before adaptation,
one for all speakers; `adapted`: each speaker's own):

    speakers, utterances, dimensions
    silhouette              of speakers in the encoder's space (Euclidean), from -1 to 1; 0: an utterance is
                            as near to those of the nearest other speaker as to those of its own
    silhouette_map          the same on the t-SNE map

On a t-SNE map, neighbours are neighbours in the encoder's space; distances between clusters have no meaning.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from saml.reporting import style
from saml.reporting.csv_tables import read_by_speaker, write_table
from saml.reporting.hypotheses import Arms, seeds_of
from saml.reporting.pages import embedding_sections, write_page
from saml.reporting.separation import silhouette
from saml.reporting.wording import caveat
from saml.runtime import layout
from saml.runtime.layout import place
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

# The column `adapter` of the inputs, as in saml.stages.embed, which is not imported because it needs torch.
NONE, PRETRAINED, ADAPTED = "none", "pretrained", "adapted"
EMBEDDINGS = [
    *["arm", "seed", "adapter", "speakers", "utterances", "dimensions"],
    *["silhouette", "silhouette_map"],
]
PERPLEXITY = 30.0
MARKERS = "osD^vP*X"

# One arm, seed and adapter: columns speaker, x and y, one row per utterance.
Map = pd.DataFrame


def embeddings(
    *,
    results: Path,
    experiment: str,
    arms: Arms,
    speakers: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    silhouettes: Path,
    output_dir: Path,
    record: Path,
    pages: Path | None = None,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: write the table and draw the maps as output_dir/embeddings.svg and .png.

    Args:
        results: `results/<experiment>`.
        experiment: its name.
        arms: the arms of the encoders: name to the config's entry.
        speakers: the speakers of the test utterances.
        seeds: the seeds of the adapted arms; maps are drawn for the first.
        settings: {"scoring": {"seed"}}, for the maps.
        silhouettes: the table to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the table as an HTML page; none if left out.
        corpus, family: for the run record.

    Raises:
        SamlError: embeddings are missing or damaged.
    """
    run = RunRecord(
        stage="embeddings", experiment=experiment, settings=settings, corpus=corpus, family=family
    )
    rows: list[list[Any]] = []
    maps: dict[tuple[str, str], Map] = {}
    with Progress("embeddings", len(arms)) as progress:
        for name, arm in arms.items():
            own = seeds_of(arm, seeds)
            for seed in own:
                embeddings = read_embeddings(results, name, seed, speakers)
                for adapter, found in embeddings.groupby("adapter"):
                    drawn = tsne(found, settings["scoring"]["seed"])
                    rows.append([name, seed, adapter, *silhouette_cells(found, drawn)])
                    if seed == own[0]:
                        maps[name, str(adapter)] = drawn
            progress.update(progress.done + 1, name)
    table = pd.DataFrame(rows, columns=EMBEDDINGS)
    write_table(table, silhouettes)
    run.file(silhouettes)
    if pages is not None:
        run.file(_page(pages, table, len(speakers)))
    with style.style():
        for path in style.write(embedding_maps(maps, table, speakers, seeds[0]), output_dir, "embeddings"):
            run.file(path)
    for row in table.to_dict("records"):
        if not np.isnan(row["silhouette"]):
            run.score(f"silhouette/{row['adapter']}/{row['arm']}/seed{row['seed']}", row["silhouette"])
    run.write(record)


def read_embeddings(results: Path, arm: str, seed: int, speakers: Sequence[str]) -> pd.DataFrame:
    """The embeddings of all speakers: columns speaker, adapter, utterance, v1, v2, ...

    Raises:
        SamlError: a speaker's table is missing, damaged or empty.
    """
    paths = {
        speaker: place(results, layout.EMBEDDINGS, speaker=speaker, arm=arm, seed=seed) / "embeddings.csv"
        for speaker in speakers
    }
    return read_by_speaker(paths, ["adapter", "utterance"], "embeddings")


def tsne(found: pd.DataFrame, seed: int) -> Map:
    """The t-SNE map of the utterances; NaN for three utterances or fewer."""
    values = _values(found)
    if len(values) > 3:
        # A perplexity is a number of neighbours, which must be smaller than the number of utterances.
        perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
        places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(values)
    else:
        places = np.full((len(values), 2), np.nan)
    return found[["speaker"]].assign(x=places[:, 0], y=places[:, 1])


def silhouette_cells(found: pd.DataFrame, drawn: Map) -> list[Any]:
    """The cells speakers, utterances, dimensions, silhouette, silhouette_map."""
    values, labels = _values(found), found["speaker"].to_numpy()
    scores = [silhouette(values, labels), silhouette(drawn[["x", "y"]].to_numpy(), labels)]
    return [len(set(labels)), *values.shape, *scores]


def _values(found: pd.DataFrame) -> NDArray[np.float64]:
    return found[[name for name in found.columns if str(name).startswith("v")]].to_numpy()


def _page(folder: Path, table: pd.DataFrame, speakers: int) -> Path:
    """The table as a page in `folder`; its path."""
    path = folder / "embeddings.html"
    note = (
        "Encoder outputs of test utterances, averaged over frames. Silhouette of speakers in the encoder's "
        "space and on the map, from -1 to 1; 0 if an utterance is as near to the nearest other speaker's "
        f"utterances as to its own speaker's. {caveat(speakers)}"
    )
    write_page(path, "Separation of speakers in encoder outputs", note, embedding_sections(table), table)
    return path


def embedding_maps(
    maps: Mapping[tuple[str, str], Map], table: pd.DataFrame, speakers: Sequence[str], seed: int
) -> Figure:
    """One column per arm, before adaptation above and after it below; a colour and marker per speaker.

    `maps` and the first rows of `table` are of the adapters' `seed`.
    """
    arms = list(dict.fromkeys(table["arm"]))
    before, after = (PRETRAINED, NONE), (ADAPTED,)
    rows = [states for states in (before, after) if any(state in states for _, state in maps)]
    figure, panels = style.panels(len(arms), 2.0 + 2.8 * len(arms), 1.4 + 2.9 * len(rows), rows=len(rows))
    markers, drawn = _markers(speakers), []
    for number, axes in enumerate(panels):
        arm, states = arms[number % len(arms)], rows[number // len(arms)]
        state = next((state for state in states if (arm, state) in maps), None)
        if state is None:
            axes.remove()
            continue
        drawn.append(axes)
        _scatter(axes, maps[arm, state], markers)
        own = table[(table["arm"] == arm) & (table["adapter"] == state)].iloc[0]
        axes.set_title(f"{arm}, {_STATES[state]}\nsilhouette {own['silhouette']:.2f}", fontsize=9)
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    style.title(
        figure,
        "Encoder outputs (t-SNE): are the utterances of a speaker close together?",
        f"A point is a test utterance, averaged over frames; seed {seed}. Silhouettes are of the "
        f"encoder's space. {caveat(len(speakers))}",
    )
    return figure


_STATES = {NONE: "not adapted", PRETRAINED: "before adaptation", ADAPTED: "adapted"}


def _markers(speakers: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """A colour and a marker for each speaker, from ten colours and eight markers."""
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    return {
        speaker: (colours[number % 10], MARKERS[(number + number // 10) % len(MARKERS)])
        for number, speaker in enumerate(speakers)
    }


def _scatter(axes: Axes, drawn: Map, markers: Mapping[str, tuple[Any, str]]) -> None:
    for speaker, (colour, marker) in markers.items():
        own = drawn[drawn["speaker"] == speaker]
        axes.plot(own["x"], own["y"], marker, color=colour, ms=4, alpha=0.8, lw=0, label=speaker)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
