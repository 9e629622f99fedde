"""Ablation of the method: arms that differ in one component, compared by question.

ablation.csv has one row per question, arm and scorer:

    question                one of the configuration's `ablation.questions`
    experts, rank           of the adapter; 0 without adaptation
    parameters              number of parameters in one speaker's adapter, routers included
    trained                 number of these that adaptation trains; pre-training trains all
    seeds, speakers, words, wer, wer_low, wer_high
                            as in summary.csv; 95 % interval, utterances resampled within speakers
    model_mb, speaker_mb    as in summary.csv
    reference, rel, ...     as in enrolment.csv: relative WER reduction against the reference
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from saml.reporting import style
from saml.reporting.csv_tables import read_table, write_table
from saml.reporting.hypotheses import Arm, Arms, Decoded, read_counts, seeds_of
from saml.reporting.pages import ablation_sections, write_page
from saml.reporting.pairs import COMPARISON_COLUMNS, TYPES, WER_COLUMNS, Paired, wer_cells
from saml.reporting.sizes import adapter_shape, arm_size
from saml.reporting.wording import caveat, number_of
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

Questions = Mapping[str, Sequence[str]]

ABLATION = [
    *["question", "arm", "experts", "rank", "parameters", "trained", "scorer", *WER_COLUMNS],
    *["model_mb", "speaker_mb", "reference", *COMPARISON_COLUMNS],
]


def ablation(
    *,
    results: Path,
    experiment: str,
    arms: Arms,
    questions: Questions,
    speakers: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    ablation: Path,
    output_dir: Path,
    record: Path,
    pages: Path | None = None,
    reference: str | None = None,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: write the table and draw it as output_dir/ablation.svg and .png.

    Args:
        results: `results/<experiment>`.
        experiment: its name.
        arms: every arm of the questions: name to the config's entry.
        questions: the arms of each question, in order.
        speakers: the speakers of these arms.
        seeds: the seeds of the adapted arms.
        settings: {"scoring": {"scorers", "draws", "seed"}}.
        ablation: the table to write.
        output_dir: where the figure goes.
        record: the run record to write.
        pages: folder for the table as an HTML page; none if left out.
        reference: the arm with which the others are compared.
        corpus, family: for the run record.

    Raises:
        SamlError: hypotheses or adapters are missing, damaged or cannot be paired.
    """
    run = RunRecord(stage="ablation", experiment=experiment, settings=settings, corpus=corpus, family=family)
    with Progress("ablation", 2) as progress:
        table = ablation_table(results, arms, questions, speakers, seeds, settings["scoring"], reference)
        progress.update(1, f"{len(arms)} arms")
        write_table(table, ablation)
        run.file(ablation)
        if pages is not None:
            run.file(_page(pages, read_table(ablation), len(speakers)))
        with style.style():
            for path in style.write(ablation_figure(table), output_dir, "ablation"):
                run.file(path)
        progress.update(2)
    for row in table.to_dict("records"):
        run.score(f"wer/{row['scorer']}/{row['arm']}", row["wer"])
    run.write(record)


def ablation_table(
    results: Path,
    arms: Arms,
    questions: Questions,
    speakers: Sequence[str],
    seeds: Sequence[int],
    scoring: Mapping[str, Any],
    reference: str | None,
) -> pd.DataFrame:
    """ablation.csv; an arm of two questions has rows under both."""
    counts = read_counts(results, arms, speakers, seeds, scoring["scorers"], heldout=False)
    test = counts[counts["part"] == "test"]
    paired = Paired(test, draws=scoring["draws"], seed=scoring["seed"])
    shapes = {name: _shape(results, name, arm, speakers, seeds) for name, arm in arms.items()}
    sizes = {name: arm_size(results, name, arm, speakers, seeds) for name, arm in arms.items()}
    rows: list[list[Any]] = []
    for question, names in questions.items():
        for name in names:
            for scorer in scoring["scorers"]:
                own = test[(test["arm"] == name) & (test["scorer"] == scorer)]
                rates = [*shapes[name], scorer, *wer_cells(paired, own, name, scorer)]
                megabytes = [sizes[name].model, sizes[name].speaker]
                rows.append([question, name, *rates, *megabytes, *paired.against(name, reference, scorer)])
    return pd.DataFrame(rows, columns=ABLATION).astype(TYPES)


def _shape(results: Path, name: str, arm: Arm, speakers: Sequence[str], seeds: Sequence[int]) -> list[int]:
    """Experts, rank, parameters and trained parameters; of one speaker's adapter, since all are alike."""
    if not arm["adapted"]:
        return [0, 0, 0, 0]
    shape = adapter_shape(Decoded(name, speakers[0], seeds_of(arm, seeds)[0]).folder(results))
    frozen = arm.get("adaptation", {}).get("frozen")
    trained = {"expert": shape.lora, "router": shape.router} | ({frozen: 0} if frozen else {})
    return [shape.experts, shape.rank, shape.lora + shape.router, sum(trained.values())]


def _page(folder: Path, table: pd.DataFrame, speakers: int) -> Path:
    """The table as a page in `folder`; its path."""
    path = folder / "ablation.html"
    note = (
        "Arms that differ in one component. Reduction: relative WER reduction against the other arm. "
        "Intervals: 95 %, paired bootstrap, utterances resampled within speakers. "
        f"{caveat(speakers)}"
    )
    write_page(path, "Ablation: the contribution of each component", note, ablation_sections(table), table)
    return path


def ablation_figure(table: pd.DataFrame) -> Figure:
    """Left: WER against parameters, of mixtures and of one LoRA. Right: the arms of each question.

    Of the first scorer; arms that are not adapted are horizontal lines on the left.
    """
    scorer = str(table["scorer"].iloc[0])
    rows = table[table["scorer"] == scorer]
    figure, (left, right) = style.panels(2, 13, max(5.0, 1.8 + 0.24 * len(rows)))
    _by_size(left, of_sizes(rows))
    _by_question(right, rows)
    style.legend(figure, left)
    speakers, seeds = int(table["speakers"].max()), int(table["seeds"].max())
    style.title(
        figure,
        "Ablation: the effect of more experts, a higher rank and each component of the mixture",
        f"Scorer {scorer}, {number_of(seeds, 'seed')}. {caveat(speakers)} "
        "Whiskers: 95 % bootstrap intervals, utterances resampled within speakers.",
    )
    return figure


# One LoRA, and a mixture: label, colour, marker.
_LORA = ("one LoRA (r: its rank)", style.ARMS["pqm"], "o")
_MIXTURE = ("mixture (experts x rank)", style.ARMS["saml"], "s")


def _kind(experts: int) -> tuple[str, str, str]:
    return _MIXTURE if experts > 1 else ("not adapted", style.ARMS["nf4"], "D") if experts == 0 else _LORA


def of_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """The arms, each once, of the questions that compare mixtures with one LoRA, and those not adapted."""
    kinds = rows.groupby("question")["experts"]
    both = kinds.transform("max").gt(1) & rows["experts"].eq(1).groupby(rows["question"]).transform("any")
    return rows[both | (rows["experts"] == 0)].drop_duplicates("arm")


def _by_size(axes: Axes, arms: pd.DataFrame) -> None:
    """WER against a speaker's number of parameters, on a logarithmic scale; the LoRAs are joined by rank."""
    for chosen, kind in ((arms[arms["experts"] == 1], _LORA), (arms[arms["experts"] > 1], _MIXTURE)):
        label, colour, marker = kind
        chosen = chosen.sort_values("parameters", kind="stable")
        rate = 100 * chosen["wer"]
        ends = [rate - 100 * chosen["wer_low"], 100 * chosen["wer_high"] - rate]
        axes.errorbar(
            chosen["parameters"],
            rate,
            [end.clip(lower=0) for end in ends],  # a percentile interval need not contain its value
            fmt=marker,
            ls="-" if kind == _LORA else "none",
            ms=5,
            lw=1.2,
            elinewidth=0.8,
            color=colour,
            label=label,
        )
        for row in chosen.to_dict("records"):
            mixture = row["experts"] > 1
            text = f"{row['experts']}x{row['rank']}" if mixture else f"r{row['rank']}"
            # At the whiskers' outer ends, mixtures above and LoRAs below: arms of similar size are close.
            place = (row["parameters"], 100 * row["wer_high" if mixture else "wer_low"])
            shift = (0, 3 if mixture else -10)
            axes.annotate(
                text, place, shift, textcoords="offset points", ha="center", fontsize=8, color=colour
            )
    for row in arms[arms["experts"] == 0].to_dict("records"):
        level = 100 * row["wer"]
        axes.axhline(level, color=style.FAINT, lw=1.0, ls="--")
        axes.annotate(row["arm"], (0.01, level), xycoords=("axes fraction", "data"), va="bottom", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("thousand parameters in a speaker's adapter")
    axes.set_ylabel("WER, %")


def _by_question(axes: Axes, rows: pd.DataFrame) -> None:
    """One row per arm, questions on alternating backgrounds."""
    by_row = list(rows["question"])
    questions = list(dict.fromkeys(by_row))
    style.name_rows(axes, list(rows["arm"]))
    for row, found in enumerate(rows.to_dict("records")):
        if questions.index(found["question"]) % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color=style.BAND, lw=0, zorder=0)
        _, colour, marker = _kind(int(found["experts"]))
        axes.plot([100 * found["wer_low"], 100 * found["wer_high"]], [row, row], color=colour, lw=1.1)
        axes.plot(100 * found["wer"], row, marker, color=colour, ms=5)
    for question in questions:
        axes.annotate(
            question.replace("_", " "),
            (0.995, by_row.index(question) - 0.45),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="top",
            fontsize=8,
            color=style.FAINT,
        )
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlim(left=0)
    axes.set_xlabel("WER, %")
