"""Pruning of adapted mixtures: WER with fewer experts, and with the mixture collapsed to one LoRA.

pruning.csv has one row per arm, scorer and number of experts kept, the whole mixture first:

    kept                    number of experts kept, those with most weight; "collapsed": one LoRA
    share                   the share of the router's weight of these experts, on the training speech
    speaker_bytes           bytes of one speaker's adapter, the mean over speakers and seeds
    seeds, speakers, words, wer, wer_low, wer_high
                            as in summary.csv; 95 % interval, utterances resampled within speakers
    rel, rel_low, ...       as in comparisons.csv: relative WER reduction against the whole mixture

Pruned adapters and their hypotheses are below `results/<experiment>/pruned/<kept>`, in the same layout as the
experiment's own below `results/<experiment>`. A collapsed mixture is one LoRA at the mean route.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.csv_tables import read_table, write_table
from saml.reporting.hypotheses import Arm, Arms, Decoded, read_counts
from saml.reporting.pages import pruning_sections, write_page
from saml.reporting.pairs import COMPARISON_COLUMNS, TYPES, WER_COLUMNS, Paired, wer_cells
from saml.reporting.sizes import MB, adapter_bytes, adapter_description
from saml.reporting.wording import caveat, number_of
from saml.runtime import layout
from saml.runtime.layout import place
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

COLLAPSED = "collapsed"
PRUNING = ["arm", "kept", "share", "speaker_bytes", "scorer", *WER_COLUMNS, *COMPARISON_COLUMNS]


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
    """Stage: write the table and draw it as output_dir/pruning.svg and .png.

    Args:
        results: `results/<experiment>`.
        experiment: its name.
        arms: the pruned mixtures: name to the config's entry.
        speakers: the speakers of the pruned adapters.
        seeds: the seeds of the adapters.
        settings: {"scoring": {"scorers", "draws", "seed"}}.
        pruning: the table to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the table as an HTML page; none if left out.
        corpus, family: for the run record.

    Raises:
        SamlError: hypotheses or adapters are missing, damaged or cannot be paired.
    """
    run = RunRecord(stage="pruning", experiment=experiment, settings=settings, corpus=corpus, family=family)
    parts = []
    with Progress("pruning", len(arms)) as progress:
        for name, arm in arms.items():
            parts.append(pruning_table(results, name, arm, speakers, seeds, settings["scoring"]))
            progress.update(progress.done + 1, name)
    table = pd.concat(parts, ignore_index=True)
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
    """The experts kept, with the folder of `speakers`: all experts, fewer, one LoRA."""
    yield str(experts), results
    for kept in [*map(str, range(experts - 1, 0, -1)), COLLAPSED]:
        yield kept, place(results, layout.PRUNED, kept=kept)


def pruning_table(
    results: Path,
    name: str,
    arm: Arm,
    speakers: Sequence[str],
    seeds: Sequence[int],
    scoring: Mapping[str, Any],
) -> pd.DataFrame:
    """The rows of one arm: each number of experts is treated as an arm of the paired bootstrap."""
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
            head = [name, kept, share, size, scorer, *wer_cells(paired, own, kept, scorer)]
            rows.append([*head, *paired.against(kept, whole, scorer)[1:]])
    return pd.DataFrame(rows, columns=PRUNING).astype(TYPES)


def _adapters(folder: Path, arm: str, speakers: Sequence[str], seeds: Sequence[int]) -> tuple[float, int]:
    """Mean share of the router's weight and mean bytes of the adapters below `folder`."""
    places = [Decoded(arm, speaker, seed).folder(folder) for speaker in speakers for seed in seeds]
    shares = [adapter_description(place).get("pruned", {}).get("share", 1.0) for place in places]
    return fmean(shares), round(fmean(map(adapter_bytes, places)))


def _page(folder: Path, table: pd.DataFrame, speakers: int) -> Path:
    """The table as a page in `folder`; its path."""
    path = folder / "pruning.html"
    note = (
        "The experts with most routing weight on a speaker's training speech are kept, or the mixture is "
        "collapsed to one LoRA at its mean route, without further training. Reduction: relative WER "
        "reduction against the whole mixture. Intervals: 95 %, paired bootstrap, utterances resampled within "
        f"speakers. {caveat(speakers)}"
    )
    write_page(path, "Pruning: WER by number of experts kept", note, pruning_sections(table), table)
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
        f"Scorer {scorer}, {number_of(seeds, 'seed')}; MB of a speaker's adapter. "
        f"Band: 95 % bootstrap intervals. {caveat(speakers)}",
    )
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    x, rate = range(len(rows)), 100 * rows["wer"].to_numpy()
    low, high = 100 * rows["wer_low"].to_numpy(), 100 * rows["wer_high"].to_numpy()
    # One LoRA is a different method, not one expert less: it is not joined to the line.
    axes.fill_between(x[:-1], low[:-1], high[:-1], color=colour, alpha=0.15, lw=0)
    axes.plot(x[:-1], rate[:-1], "o-", color=colour, lw=1.8, ms=5)
    axes.plot(x[-1:], rate[-1:], "D", color=colour, ms=6)
    axes.vlines(x[-1], low[-1], high[-1], color=colour, lw=1.1)
    names = ["one LoRA" if kept == COLLAPSED else kept for kept in rows["kept"]]
    sizes = [f"{size / MB:.2f}" for size in rows["speaker_bytes"]]
    axes.set_xticks(x, [f"{name}\n{size} MB" for name, size in zip(names, sizes, strict=True)], fontsize=8)
    axes.set_xlabel("experts kept")
