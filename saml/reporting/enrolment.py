"""The enrolment curve: word error rates by the number of training utterances that a speaker gives.

enrolment.csv has one row per arm, number of utterances and scorer:

    arm, scorer, seeds, speakers, words, wer   as in summary.csv
    size                    at most so many training utterances a speaker; 0: not adapted, empty: all of them
    heard                   the mean over speakers (and folds) of how many that were: who has fewer gives all
    wer_low, wer_high       95 % interval, utterances resampled within speakers
    reference               the arm that the arm is compared with, at the same number of utterances
    rel, rel_low, rel_high, p, rel_speakers_low, rel_speakers_high, speakers_better, _worse, _equal
                            as in comparisons.csv: positive where the arm's WER is below the reference's

The adaptations of each number lie below results/<experiment>/enrolment/<number> as they lie below
results/<experiment> itself; those of the number that the experiment uses are the experiment's own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.corpora.registry import folder_name
from saml.reporting import style
from saml.reporting.hypotheses import Arms, read_counts
from saml.reporting.pages import enrolment_sections, write_page
from saml.reporting.pairs import DIFFERENCE, MEASURED, SPEAKERS, Paired, measured
from saml.reporting.tables import caveat, read_table, write_table
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress

ENROLMENT = [
    *["arm", "size", "heard", "scorer", *MEASURED],
    *["reference", *DIFFERENCE, *SPEAKERS],
]


def enrolment(
    *,
    results: Path,
    experiment: str,
    arms: Arms,
    speakers: Sequence[str],
    seeds: Sequence[int],
    sizes: Sequence[int],
    settings: Mapping[str, Any],
    enrolment: Path,
    output_dir: Path,
    record: Path,
    pages: Path | None = None,
    own_size: int | None = None,
    reference: str | None = None,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: make the table and draw the curve as output_dir/enrolment.svg and .png.

    Args:
        results: results/<experiment>.
        experiment: its name.
        arms: the arms of the curve and those that are not adapted: name to the config's entry.
        speakers: the target speakers.
        seeds: the seeds of the adapted arms.
        sizes: the numbers of training utterances that have adaptations of their own.
        settings: {"scoring": {"scorers", "draws", "seed"}}.
        enrolment: the table to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the table as a page; where it is left out there is none.
        own_size: the number that the experiment itself uses; None where it uses all utterances.
        reference: the arm that the others are compared with.
        corpus, family: for the run record.

    Raises:
        SamlError: hypotheses or splits are missing, damaged or do not pair up.
    """
    from saml.tracking import RunRecord

    run = RunRecord(stage="enrolment", experiment=experiment, settings=settings, corpus=corpus, family=family)
    adapted = {name: arm for name, arm in arms.items() if arm["adapted"]}
    bare = {name: arm for name, arm in arms.items() if not arm["adapted"]}
    counts = {size: results / "enrolment" / str(size) for size in sizes} | {own_size: results}
    found = [] if not bare else [_rows(results, bare, speakers, seeds, settings, size=0, heard=0.0)]
    with Progress("enrolment curve", len(counts)) as progress:
        for size, folder in counts.items():
            heard = mean_heard(results, speakers, size)
            found.append(
                _rows(folder, adapted, speakers, seeds, settings, size=size, heard=heard, reference=reference)
            )
            progress.update(progress.done + 1, f"{heard:g} utterances")
    table = enrolment_table(found)
    write_table(table, enrolment)
    run.file(enrolment)
    if pages is not None:
        run.file(_page(pages, read_table(enrolment), len(speakers)))
    with style.style():
        for path in style.write(enrolment_curve(table), output_dir, "enrolment"):
            run.file(path)
    run.write(record)


def enrolment_table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """enrolment.csv from the rows of each number of utterances, fewest first."""
    table = pd.concat(parts, ignore_index=True).sort_values("heard", kind="stable", ignore_index=True)
    # Whole numbers also in columns where some are missing.
    kinds = dict.fromkeys(["size", *SPEAKERS], "Int64") | dict.fromkeys(DIFFERENCE, "float64")
    return table.astype(kinds)


def mean_heard(results: Path, speakers: Sequence[str], limit: int | None) -> float:
    """How many training utterances an adaptation hears, the mean over speakers and folds.

    Raises:
        SamlError: a speaker's splits are missing or damaged.
    """
    numbers = []
    for speaker in speakers:
        path = results / "data" / "speakers" / folder_name(speaker) / "splits.json"
        try:
            folds = [len(fold["train"]) for fold in json.loads(path.read_text(encoding="utf-8"))["folds"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SamlError(
                f"{path}: cannot read these splits ({error}); prepare the speaker again"
            ) from None
        numbers.append(fmean(size if limit is None else min(size, limit) for size in folds))
    return fmean(numbers)


def _rows(
    folder: Path,
    arms: Arms,
    speakers: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    *,
    size: int | None,
    heard: float,
    reference: str | None = None,
) -> pd.DataFrame:
    """The rows of one number of utterances, whose hypotheses lie in `folder`."""
    scoring = settings["scoring"]
    counts = read_counts(folder, arms, speakers, seeds, scoring["scorers"], heldout=False)
    test = counts[counts["part"] == "test"]
    paired = Paired(test, draws=scoring["draws"], seed=scoring["seed"])
    rows: list[list[Any]] = []
    for names, group in test.groupby(["arm", "scorer"], sort=False):
        arm, scorer = map(str, names)
        rows.append(
            [
                *(arm, size, heard, scorer, *measured(paired, group, arm, scorer)),
                *paired.against(arm, reference if reference in arms else None, scorer),
            ]
        )
    return pd.DataFrame(rows, columns=ENROLMENT)


def _page(folder: Path, table: pd.DataFrame, speakers: int) -> Path:
    """The table as a page in `folder`; its path."""
    path = folder / "enrolment.html"
    note = (
        "WER with its interval by the number of training utterances that a speaker gave (0: not adapted), "
        "and the share by which it is below the other arm's at the same number. Intervals are of 95 %, from "
        f"a paired bootstrap over utterances within speakers. {caveat(speakers)}"
    )
    title = "Enrolment: WER by number of training utterances"
    write_page(path, title, note, enrolment_sections(table), table)
    return path


def enrolment_curve(table: pd.DataFrame) -> Figure:
    """WER against the number of utterances heard, a line with its band for each arm, a panel per scorer.

    Arms that are not adapted are level lines.
    """
    scorers, arms = list(dict.fromkeys(table["scorer"])), list(dict.fromkeys(table["arm"]))
    figure, panels = style.panels(len(scorers), 10, 4.4, share=True)
    colour = style.colours(arms)
    for axes, scorer in zip(panels, scorers, strict=True):
        mine = table[table["scorer"] == scorer]
        for arm in arms:
            _line(axes, mine[mine["arm"] == arm], colour[arm])
        _logarithmic(axes, sorted(set(mine["heard"]) - {0.0}))
        axes.set_title(f"scorer: {scorer}")
        axes.set_xlabel("training utterances of the speaker")
    panels[0].set_ylabel("WER, %")
    panels[0].set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    speakers, seeds = int(table["speakers"].max()), int(table["seeds"].max())
    style.title(
        figure,
        "Enrolment: how many sentences must a speaker give before adaptation pays?",
        f"{seeds} seed{'s' if seeds > 1 else ''}. {caveat(speakers)} "
        "Bands: 95 % bootstrap intervals, utterances resampled within speakers.",
    )
    return figure


def _line(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """One arm: a line over its numbers of utterances, or a level line where nothing is adapted."""
    arm = str(rows["arm"].iloc[0])
    heard, rate = rows["heard"].to_numpy(), 100 * rows["wer"].to_numpy()
    if (heard == 0).all():
        axes.axhline(rate[0], color=colour, lw=1.4, ls="--", label=arm)
        return
    low, high = 100 * rows["wer_low"].to_numpy(), 100 * rows["wer_high"].to_numpy()
    axes.fill_between(heard, low, high, color=colour, alpha=0.15, lw=0)
    axes.plot(heard, rate, "o-", color=colour, lw=1.8, ms=5, label=arm)


def _logarithmic(axes: Axes, numbers: Sequence[float]) -> None:
    """A logarithmic axis with ticks at `numbers` and nowhere else."""
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{number:.3g}" for number in numbers])
    axes.set_xticks([], minor=True)
