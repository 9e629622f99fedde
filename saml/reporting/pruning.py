"""How small a speaker's mixture can be made afterwards: word error rates with fewer experts, and as one LoRA.

pruning.csv has one row per arm, scorer and number of experts kept, the whole mixture first:

    kept                    the best-routed experts that stay; "collapsed": one LoRA at the mean route
    share                   of the router's weight that those experts had before, on the training speech
    speaker_bytes           of one speaker's adapter, the mean over speakers and seeds
    seeds, speakers, words, wer, wer_low, wer_high
                            as in summary.csv; 95 % interval, utterances resampled within speakers
    rel, rel_low, ...       as in comparisons.csv: how far the WER is below that of the whole mixture

Smaller adapters and what they decoded lie below results/<experiment>/pruned/<kept> as the experiment's own
lie below results/<experiment>.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.hypotheses import Arm, Arms, Decoded, read_counts
from saml.reporting.pages import pruning_sections, write_page
from saml.reporting.pairs import DIFFERENCE, MEASURED, SPEAKERS, Paired, measured
from saml.reporting.sizes import MB, adapter_bytes, adapter_description
from saml.reporting.tables import caveat, read_table, write_table
from saml.runtime.progress import Progress

COLLAPSED = "collapsed"
PRUNING = ["arm", "kept", "share", "speaker_bytes", "scorer", *MEASURED, *DIFFERENCE, *SPEAKERS]


def pruning(
    *,
    results: Path,
    experiment: str,
    arms: Arms,
    speakers: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    pruning: Path,
    output_dir: Path,
    record: Path,
    pages: Path | None = None,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: make the table and draw it as output_dir/pruning.svg and .png.

    Args:
        results: results/<experiment>.
        experiment: its name.
        arms: the mixtures that were pruned: name to the config's entry.
        speakers: the speakers whose adapters were.
        seeds: the seeds of the adapters.
        settings: {"scoring": {"scorers", "draws", "seed"}}.
        pruning: the table to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the table as a page; where it is left out there is none.
        corpus, family: for the run record.

    Raises:
        SamlError: hypotheses or adapters are missing, damaged or do not pair up.
    """
    from saml.tracking import RunRecord

    run = RunRecord(stage="pruning", experiment=experiment, settings=settings, corpus=corpus, family=family)
    found = []
    with Progress("pruning", len(arms)) as progress:
        for name, arm in arms.items():
            found.append(pruning_table(results, name, arm, speakers, seeds, settings["scoring"]))
            progress.update(progress.done + 1, name)
    table = pd.concat(found, ignore_index=True)
    write_table(table, pruning)
    run.file(pruning)
    if pages is not None:
        run.file(_page(pages, read_table(pruning), len(speakers)))
    with style.style():
        for path in style.write(pruning_figure(table), output_dir, "pruning"):
            run.file(path)
    for row in table.to_dict("records"):
        run.score(f"wer/{row['scorer']}/{row['arm']}/{row['kept']}", row["wer"])
    run.write(record)


def folders(results: Path, experts: int) -> Iterator[tuple[str, Path]]:
    """What is kept, with the folder that `speakers` lies in: all experts, fewer, one LoRA."""
    yield str(experts), results
    for kept in [*map(str, range(experts - 1, 0, -1)), COLLAPSED]:
        yield kept, results / "pruned" / kept


def pruning_table(
    results: Path,
    name: str,
    arm: Arm,
    speakers: Sequence[str],
    seeds: Sequence[int],
    scoring: Mapping[str, Any],
) -> pd.DataFrame:
    """The rows of one arm: each number of experts takes the place of an arm in the paired bootstrap."""
    parts = []
    for kept, folder in folders(results, arm["experts"]):
        counts = read_counts(folder, {name: arm}, speakers, seeds, scoring["scorers"], heldout=False)
        parts.append(counts[counts["part"] == "test"].assign(arm=kept))
    test = pd.concat(parts, ignore_index=True)
    paired = Paired(test, draws=scoring["draws"], seed=scoring["seed"])
    whole = str(arm["experts"])
    rows: list[list[Any]] = []
    for kept, folder in folders(results, arm["experts"]):
        share, size = _adapters(folder, name, speakers, seeds)
        for scorer in scoring["scorers"]:
            own = test[(test["arm"] == kept) & (test["scorer"] == scorer)]
            head = [name, kept, share, size, scorer, *measured(paired, own, kept, scorer)]
            rows.append([*head, *paired.against(kept, whole, scorer)[1:]])
    # Whole numbers also in columns where some are missing.
    kinds = dict.fromkeys(SPEAKERS, "Int64") | dict.fromkeys(DIFFERENCE, "float64")
    return pd.DataFrame(rows, columns=PRUNING).astype(kinds)


def _adapters(folder: Path, arm: str, speakers: Sequence[str], seeds: Sequence[int]) -> tuple[float, int]:
    """Of the adapters below `folder`: the mean share of the router's weight, the mean bytes."""
    places = [Decoded(arm, speaker, seed).folder(folder) for speaker in speakers for seed in seeds]
    shares = [adapter_description(place).get("pruned", {}).get("share", 1.0) for place in places]
    return fmean(shares), round(fmean(map(adapter_bytes, places)))


def _page(folder: Path, table: pd.DataFrame, speakers: int) -> Path:
    """The table as a page in `folder`; its path."""
    path = folder / "pruning.html"
    note = (
        "The experts that a speaker's training speech is routed to most are kept, or the mixture becomes one "
        "LoRA at its mean route; nothing is trained again. Below by: the share of the whole mixture's WER by "
        "which the smaller one's is lower. Intervals are of 95 %, from a paired bootstrap over utterances "
        f"within speakers. {caveat(speakers)}"
    )
    write_page(path, "Pruning: how small can a mixture be made?", note, pruning_sections(table), table)
    return path


def pruning_figure(table: pd.DataFrame) -> Figure:
    """WER against experts kept, most first and one LoRA last, with megabytes; a panel per arm.

    Of the first scorer.
    """
    scorer = str(table["scorer"].iloc[0])
    arms = list(dict.fromkeys(table["arm"]))
    figure, panels = style.panels(len(arms), max(8.5, 5.5 * len(arms)), 4.4, share=len(arms) > 1)
    colour = style.colours(arms)
    for axes, arm in zip(panels, arms, strict=True):
        _curve(axes, table[(table["arm"] == arm) & (table["scorer"] == scorer)], colour[arm])
        axes.set_title(arm)
    panels[0].set_ylabel("WER, %")
    panels[0].set_ylim(bottom=0)
    speakers, seeds = int(table["speakers"].max()), int(table["seeds"].max())
    style.title(
        figure,
        "Pruning: how many experts does an adapted mixture need?",
        f"Scorer {scorer}, {seeds} seed{'s' if seeds > 1 else ''}; MB of a speaker's adapter. "
        f"Band: 95 % bootstrap intervals. {caveat(speakers)}",
    )
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    x, rate = range(len(rows)), 100 * rows["wer"].to_numpy()
    low, high = 100 * rows["wer_low"].to_numpy(), 100 * rows["wer_high"].to_numpy()
    # One LoRA is another way to be small, not one expert less.
    axes.fill_between(x[:-1], low[:-1], high[:-1], color=colour, alpha=0.15, lw=0)
    axes.plot(x[:-1], rate[:-1], "o-", color=colour, lw=1.8, ms=5)
    axes.plot(x[-1:], rate[-1:], "D", color=colour, ms=6)
    axes.vlines(x[-1], low[-1], high[-1], color=colour, lw=1.1)
    names = ["one LoRA" if kept == COLLAPSED else kept for kept in rows["kept"]]
    sizes = [f"{size / MB:.2f}" for size in rows["speaker_bytes"]]
    axes.set_xticks(x, [f"{name}\n{size} MB" for name, size in zip(names, sizes, strict=True)], fontsize=8)
    axes.set_xlabel("experts kept")
