"""The enrolment curve: WER by the number of training utterances of a speaker.

enrolment.csv has one row per arm, number of utterances and scorer:

    arm, scorer, seeds, speakers, words, wer   as in summary.csv
    size                    the largest number of training utterances per speaker; 0: not adapted, empty: all
    train_utterances        the mean number over speakers and folds; speakers with fewer than `size` use all
    wer_low, wer_high       95 % interval, utterances resampled within speakers
    reference               the arm of the comparison, at the same number of utterances
    rel, rel_low, rel_high, p, rel_speakers_low, rel_speakers_high, speakers_better, _worse, _equal
                            as in comparisons.csv: relative WER reduction against the reference

The adaptations of each number are below `results/<experiment>/enrolment/<number>`, in the same layout as
below `results/<experiment>` itself; those of the number used by the experiment are its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saml.reporting import style
from saml.reporting.agreement import about, scorers_of, with_other_verdicts
from saml.reporting.csv_tables import read_table, write_table
from saml.reporting.hypotheses import Arms, read_counts
from saml.reporting.pages import enrolment_sections, write_page
from saml.reporting.pairs import COMPARISON_COLUMNS, TYPES, WER_COLUMNS, Paired, wer_cells
from saml.reporting.wording import caveat, number_of
from saml.runtime import layout
from saml.runtime.errors import SamlError
from saml.runtime.layout import place
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

ENROLMENT = [
    *["arm", "size", "train_utterances", "scorer", *WER_COLUMNS],
    *["reference", *COMPARISON_COLUMNS],
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
    """Stage: write the table and draw the curve as output_dir/enrolment.svg and .png.

    Args:
        results: `results/<experiment>`.
        experiment: its name.
        arms: the arms of the curve and those that are not adapted: name to the config's entry.
        speakers: the target speakers.
        seeds: the seeds of the adapted arms.
        sizes: the numbers of training utterances with separate adaptations.
        settings: {"scoring": {"scorers", "draws", "seed"}}.
        enrolment: the table to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the table as an HTML page; none if left out.
        own_size: the number used by the experiment itself; None if it uses all utterances.
        reference: the arm with which the others are compared.
        corpus, family: for the run record.

    Raises:
        SamlError: hypotheses or splits are missing, damaged or cannot be paired.
    """
    run = RunRecord(stage="enrolment", experiment=experiment, settings=settings, corpus=corpus, family=family)
    adapted = {name: arm for name, arm in arms.items() if arm["adapted"]}
    unadapted = {name: arm for name, arm in arms.items() if not arm["adapted"]}
    folders = {size: place(results, layout.ENROLMENT, size=size) for size in sizes} | {own_size: results}
    parts = [_rows(results, unadapted, speakers, seeds, settings, size=0, used=0.0)] if unadapted else []
    with Progress("enrolment curve", len(folders)) as progress:
        for size, folder in folders.items():
            used = mean_train_utterances(results, speakers, size)
            parts.append(
                _rows(folder, adapted, speakers, seeds, settings, size=size, used=used, reference=reference)
            )
            progress.update(progress.done + 1, f"{used:g} utterances")
    table = enrolment_table(parts)
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
    table = pd.concat(parts, ignore_index=True)
    table = table.sort_values("train_utterances", kind="stable", ignore_index=True)
    return table.astype({"size": "Int64", **TYPES})


def mean_train_utterances(results: Path, speakers: Sequence[str], limit: int | None) -> float:
    """The number of training utterances of an adaptation, the mean over speakers and folds.

    Raises:
        SamlError: a speaker's splits are missing or damaged.
    """
    numbers = []
    for speaker in speakers:
        path = place(results, layout.SPEECH, speaker=speaker) / "splits.json"
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
    used: float,
    reference: str | None = None,
) -> pd.DataFrame:
    """The rows of one number of utterances, with hypotheses below `folder`; `used` is the mean number."""
    scoring = settings["scoring"]
    counts = read_counts(folder, arms, speakers, seeds, scoring["scorers"], heldout=False)
    test = counts[counts["part"] == "test"]
    paired = Paired(test, draws=scoring["draws"], seed=scoring["seed"])
    rows: list[list[Any]] = []
    for names, group in test.groupby(["arm", "scorer"], sort=False):
        arm, scorer = map(str, names)
        rows.append(
            [
                *(arm, size, used, scorer, *wer_cells(paired, group, arm, scorer)),
                *paired.against(arm, reference if reference in arms else None, scorer),
            ]
        )
    return pd.DataFrame(rows, columns=ENROLMENT)


def _page(folder: Path, table: pd.DataFrame, speakers: int) -> Path:
    """The table as a page in `folder`; its path."""
    path = folder / "enrolment.html"
    note = (
        "WER with its interval by the number of training utterances per speaker (0: not adapted), and the "
        "relative WER reduction against the other arm at the same number. Intervals: 95 %, paired bootstrap, "
        f"utterances resampled within speakers. {caveat(speakers)}"
    )
    title = "Enrolment: WER by number of training utterances"
    write_page(path, title, note, enrolment_sections(table), table)
    return path


def enrolment_curve(table: pd.DataFrame) -> Figure:
    """WER against the number of training utterances, a line with its band for each arm.

    Arms that are not adapted are horizontal lines.
    """
    shown, arms = with_other_verdicts(table), list(dict.fromkeys(table["arm"]))
    figure, panels = style.panels(len(shown), 8.5 if len(shown) == 1 else 10, 4.4, share=True)
    colour = style.colours(arms)
    for axes, scorer in zip(panels, shown, strict=True):
        rows = table[table["scorer"] == scorer]
        for arm in arms:
            _line(axes, rows[rows["arm"] == arm], colour[arm])
        _logarithmic(axes, sorted(set(rows["train_utterances"]) - {0.0}))
        if len(shown) > 1:
            axes.set_title(f"scorer: {scorer}")
        axes.set_xlabel("training utterances of the speaker")
    panels[0].set_ylabel("WER, %")
    panels[0].set_ylim(bottom=0)
    style.legend(figure, panels[0])
    speakers, seeds = int(table["speakers"].max()), int(table["seeds"].max())
    style.title(
        figure,
        "Enrolment: how many training utterances does adaptation need?",
        f"{about(scorers_of(table), shown)} {number_of(seeds, 'seed')}. {caveat(speakers)}\n"
        "Bands: 95 % bootstrap intervals, utterances resampled within speakers.",
    )
    return figure


def _line(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """One arm: a line over its numbers of utterances, or a horizontal line without adaptation."""
    arm = str(rows["arm"].iloc[0])
    utterances, rate = rows["train_utterances"].to_numpy(), 100 * rows["wer"].to_numpy()
    if (utterances == 0).all():
        axes.axhline(rate[0], color=colour, lw=1.4, ls="--", label=arm)
        return
    low, high = 100 * rows["wer_low"].to_numpy(), 100 * rows["wer_high"].to_numpy()
    axes.fill_between(utterances, low, high, color=colour, alpha=0.15, lw=0)
    axes.plot(utterances, rate, "o-", color=colour, lw=1.8, ms=5, label=arm)


def _logarithmic(axes: Axes, numbers: Sequence[float]) -> None:
    """A logarithmic axis with ticks only at `numbers`."""
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{number:.3g}" for number in numbers])
    axes.set_xticks([], minor=True)
