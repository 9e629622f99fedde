"""Does the encoder keep speakers apart? Its outputs as a map, SAML's beside one LoRA's.

embeddings.csv has one row per arm, seed and adapter (`none`: the bare model, `pretrained`: one for everybody,
before adaptation, `adapted`: each speaker's own):

    speakers, utterances, dimensions
    silhouette              from -1 to 1, of speakers in the encoder's own space (Euclidean): how much nearer
                            an utterance is to those of its speaker than to those of the next; 0: no nearer
    silhouette_map          the same on the map that is drawn

The map is t-SNE's: neighbours on it were neighbours, distances between heaps mean nothing.
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

from saml.corpora.registry import folder_name
from saml.reporting import style
from saml.reporting.hypotheses import Arms, seeds_of
from saml.reporting.pages import encoding_sections, write_page
from saml.reporting.tables import caveat, write_table
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress
from saml.stages.embed import ADAPTED, NONE, PRETRAINED

ENCODINGS = [
    *["arm", "seed", "adapter", "speakers", "utterances", "dimensions"],
    *["silhouette", "silhouette_map"],
]
PERPLEXITY = 30.0
MARKERS = "osD^vP*X"

# Of one arm, seed and adapter: speaker, x and y of each utterance.
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
    """Stage: make the table and draw the maps as output_dir/embeddings.svg and .png.

    Args:
        results: results/<experiment>.
        experiment: its name.
        arms: whose encoders: name to the config's entry.
        speakers: whose test utterances.
        seeds: the seeds of the adapted arms; maps are drawn of the first.
        settings: {"scoring": {"seed"}}, of the maps.
        silhouettes: the table to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the table as a page; where it is left out there is none.
        corpus, family: for the run record.

    Raises:
        SamlError: embeddings are missing or damaged.
    """
    from saml.tracking import RunRecord

    run = RunRecord(
        stage="embeddings", experiment=experiment, settings=settings, corpus=corpus, family=family
    )
    rows: list[list[Any]] = []
    maps: dict[tuple[str, str], Map] = {}
    with Progress("embeddings", len(arms)) as progress:
        for name, arm in arms.items():
            own = seeds_of(arm, seeds)
            for seed in own:
                for adapter, found in read_encodings(results, name, seed, speakers).groupby("adapter"):
                    drawn = tsne(found, settings["scoring"]["seed"])
                    rows.append([name, seed, adapter, *judged(found, drawn)])
                    if seed == own[0]:
                        maps[name, str(adapter)] = drawn
            progress.update(progress.done + 1, name)
    table = pd.DataFrame(rows, columns=ENCODINGS)
    write_table(table, silhouettes)
    run.file(silhouettes)
    if pages is not None:
        run.file(_page(pages, table, len(speakers)))
    with style.style():
        for path in style.write(encoding_maps(maps, table, speakers, seeds[0]), output_dir, "embeddings"):
            run.file(path)
    for row in table.to_dict("records"):
        if not np.isnan(row["silhouette"]):
            run.score(f"silhouette/{row['adapter']}/{row['arm']}/seed{row['seed']}", row["silhouette"])
    run.write(record)


def read_encodings(results: Path, arm: str, seed: int, speakers: Sequence[str]) -> pd.DataFrame:
    """The embeddings of all speakers: columns speaker, adapter, utterance, v1, v2, ...

    Raises:
        SamlError: a speaker's table is missing, damaged or empty.
    """
    tables = []
    for speaker in speakers:
        path = results / "embeddings" / folder_name(speaker) / arm / f"seed{seed}" / "embeddings.csv"
        try:
            table = pd.read_csv(path, dtype={"adapter": str, "utterance": str}, keep_default_na=False)
            table = table.astype(dict.fromkeys(table.columns[2:], float))
        except (OSError, ValueError) as error:
            raise SamlError(f"{path}: cannot read these embeddings ({error}); encode again") from None
        if table.empty:
            raise SamlError(f"{path}: nothing was encoded here; encode again")
        tables.append(table.assign(speaker=speaker))
    return pd.concat(tables, ignore_index=True)


def tsne(found: pd.DataFrame, seed: int) -> Map:
    """Where each utterance lies on the map; with three utterances or fewer there is none."""
    from sklearn.manifold import TSNE

    values = _values(found)
    if len(values) > 3:
        # A perplexity is a number of neighbours, and there must be more utterances than those.
        perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
        places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(values)
    else:
        places = np.full((len(values), 2), np.nan)
    return found[["speaker"]].assign(x=places[:, 0], y=places[:, 1])


def judged(found: pd.DataFrame, drawn: Map) -> list[Any]:
    """speakers, utterances, dimensions, silhouette, silhouette_map."""
    values, who = _values(found), found["speaker"].to_numpy()
    scores = [silhouette(values, who), silhouette(drawn[["x", "y"]].to_numpy(), who)]
    return [len(set(who)), *values.shape, *scores]


def silhouette(values: NDArray[np.float64], speakers: NDArray[np.str_]) -> float:
    """The mean silhouette of speakers in `values` `(utterances, dimensions)`; NaN where it has no meaning."""
    from sklearn.metrics import silhouette_score

    if not 2 <= len(set(speakers)) < len(values) or np.isnan(values).any():
        return float("nan")
    return float(silhouette_score(values, speakers))


def _values(found: pd.DataFrame) -> NDArray[np.float64]:
    return found[[name for name in found.columns if str(name).startswith("v")]].to_numpy()


def _page(folder: Path, table: pd.DataFrame, speakers: int) -> Path:
    """The table as a page in `folder`; its path."""
    path = folder / "embeddings.html"
    note = (
        "Encoder outputs of test utterances, the mean over frames. Silhouette of speakers in the encoder's "
        "own space, and on the map: from -1 to 1, 0 where an utterance is no nearer to its speaker's others "
        f"than to the next speaker's. {caveat(speakers)}"
    )
    write_page(path, "Does the encoder keep speakers apart?", note, encoding_sections(table), table)
    return path


def encoding_maps(
    maps: Mapping[tuple[str, str], Map], table: pd.DataFrame, speakers: Sequence[str], seed: int
) -> Figure:
    """A column an arm: above before adaptation, below after it; a colour and marker for each speaker.

    `maps` and the first rows of `table` are of the adapters' `seed`.
    """
    arms = list(dict.fromkeys(table["arm"]))
    before, after = (PRETRAINED, NONE), (ADAPTED,)
    rows = [states for states in (before, after) if any(state in states for _, state in maps)]
    figure, panels = style.panels(len(arms), 2.0 + 2.8 * len(arms), 1.4 + 2.9 * len(rows), rows=len(rows))
    look, drawn = _looks(speakers), []
    for number, axes in enumerate(panels):
        arm, states = arms[number % len(arms)], rows[number // len(arms)]
        state = next((state for state in states if (arm, state) in maps), None)
        if state is None:
            axes.remove()
            continue
        drawn.append(axes)
        _scatter(axes, maps[arm, state], look)
        own = table[(table["arm"] == arm) & (table["adapter"] == state)].iloc[0]
        axes.set_title(f"{arm}, {_WHEN[state]}\nsilhouette {own['silhouette']:.2f}", fontsize=9)
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    style.title(
        figure,
        "Encoder outputs (t-SNE): are a speaker's utterances together?",
        f"A point is a test utterance, the mean over its frames; seed {seed}. Silhouettes are "
        f"of the encoder's own space. {caveat(len(speakers))}",
    )
    return figure


_WHEN = {NONE: "not adapted", PRETRAINED: "before adaptation", ADAPTED: "adapted"}


def _looks(speakers: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """A colour and a marker for each speaker; ten colours go round, and markers go on."""
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    return {
        speaker: (colours[number % 10], MARKERS[(number + number // 10) % len(MARKERS)])
        for number, speaker in enumerate(speakers)
    }


def _scatter(axes: Axes, drawn: Map, look: Mapping[str, tuple[Any, str]]) -> None:
    for speaker, (colour, marker) in look.items():
        mine = drawn[drawn["speaker"] == speaker]
        axes.plot(mine["x"], mine["y"], marker, color=colour, ms=4, alpha=0.8, lw=0, label=speaker)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
