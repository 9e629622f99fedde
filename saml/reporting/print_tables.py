"""Summaries on the terminal: an experiment's WER table, and experiments beside the published figures."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from saml.reporting import published
from saml.reporting.agreement import about, scorers_of, with_other_verdicts
from saml.reporting.csv_tables import read_table
from saml.reporting.key_number import key_number
from saml.reporting.pages import write_page
from saml.reporting.thirds import thirds
from saml.reporting.wording import (
    better_worse_equal,
    caveat,
    number_of,
    p_value,
    pair,
    percent,
    with_interval,
)
from saml.runtime.errors import SamlError
from saml.runtime.layout import TABLES
from saml.tracking import read_record

HEAD = [
    *["arm", "WER %", "held-out %", "reduction vs fp32 %", "reduction vs nf4 %"],
    *["MB + speaker", "smaller"],
]
# Of more pairs of arms only those are printed that differ significantly.
MOST_PAIRS = 15


def show(results: Path) -> None:
    """Print the results of an experiment, from its tables.

    Args:
        results: `results/<experiment>`.

    Raises:
        SamlError: there are no tables yet.
    """
    tables = results / TABLES
    summary, comparisons = read_table(tables / "summary.csv"), read_table(tables / "comparisons.csv")
    lines = [
        *_report(results.name, summary, comparisons, read_table(tables / "wer.csv")),
        "",
        *_next(results),
        "",
        *_in_short(results, summary),
    ]
    print("\n".join(lines))


def show_published(experiments: Sequence[Path], page: Path | None = None) -> None:
    """Print the results of experiments beside the published figures.

    Args:
        experiments: folders; those without a summary, such as results/mlflow, are skipped.
        page: output, the same as an HTML page; none if left out.

    Raises:
        SamlError: none of them has a summary, or one of these is damaged.
    """
    found = [folder for folder in experiments if (folder / TABLES / "summary.csv").exists()]
    if not found:
        raise SamlError(f"{', '.join(map(str, experiments))}: no summary to print; run an experiment first")
    table = published.published_table(_finished(folder) for folder in found)
    sections = published.published_sections(table)
    lines = []
    for heading, section in sections.items():
        lines += [heading, "", *aligned([list(section.columns), *section.to_numpy().tolist()]), ""]
    print("\n".join([*lines, *textwrap.wrap(published.NOTE, 100)]))
    if page is not None:
        write_page(page, published.TITLE, published.NOTE, sections, table)


def _finished(folder: Path) -> published.Finished:
    """The experiment in `folder`, with corpus and family from the tables' run record."""
    path = folder / TABLES / "summary.csv"
    record = read_record(folder / TABLES / "tables.jsonl")
    try:
        summary = read_table(path)[published.MEASURED]
    except KeyError as error:
        raise SamlError(f"{path}: cannot read this table ({error}); write it again") from None
    return published.Finished(record.experiment, record.corpus or "-", record.family or "-", summary)


def _report(
    experiment: str, summary: pd.DataFrame, comparisons: pd.DataFrame, wer: pd.DataFrame
) -> list[str]:
    lines = []
    for scorer in dict.fromkeys(summary["scorer"]):
        rows = summary[summary["scorer"] == scorer]
        lines += ["", f"{experiment}, scorer {scorer}", ""]
        lines += aligned([HEAD, *(_row(row) for row in rows.to_dict("records"))])
    lines += _about_loops(summary)
    lines += _thirds(summary, wer) + _pairs(summary, comparisons)
    speakers, seeds = int(summary["speakers"].max()), int(summary["seeds"].max())
    lines += [
        "",
        f"{caveat(speakers)} Seeds: {seeds}.",
        "Reduction: relative WER reduction, with its 95 % interval (paired bootstrap, utterances resampled",
        "within speakers); p is two-sided. WER: test parts of the target speakers; held-out: WER of the same",
        "models on held-out speakers.",
    ]
    return lines[1:]


def _thirds(summary: pd.DataFrame, wer: pd.DataFrame) -> list[str]:
    """Who gains: WER by thirds of the speakers, where there are speakers enough."""
    scorer = scorers_of(summary)[0]
    unadapted = [str(arm) for arm in summary.loc[summary["speaker_mb"] == 0, "arm"]]
    if not unadapted:
        return []
    rates, sizes = thirds(wer, unadapted[0], scorer)
    if rates.empty:
        return []
    head = ["arm", *(f"{third} ({size})" for third, size in zip(rates.columns, sizes, strict=True))]
    rows = [[str(arm), *map(percent, row)] for arm, row in zip(rates.index, rates.to_numpy(), strict=True)]
    return [
        "",
        f"WER % by thirds of the speakers, ordered by their WER under {unadapted[0]}, scorer {scorer}.",
        *textwrap.wrap(
            "The same words order the speakers and are counted, so what is gained over "
            f"{unadapted[0]} seems too large in the last third and too small in the first.",
            100,
        ),
        "",
        *aligned([head, *rows]),
    ]


def _pairs(summary: pd.DataFrame, comparisons: pd.DataFrame) -> list[str]:
    """Adapted arms against each other, under the first scorer and those that say something else."""
    adapted = set(summary.loc[summary["speaker_mb"] > 0, "arm"])
    between = comparisons[comparisons["arm_a"].isin(adapted) & comparisons["arm_b"].isin(adapted)]
    title = "Adapted arms in pairs (positive: the first is better)"
    if between.empty:
        return ["", title, "", "fewer than two adapted arms"]
    shown = with_other_verdicts(between)
    pairs = between.groupby(["arm_a", "arm_b"], sort=False).ngroups
    rows = between[between["scorer"].isin(shown)]
    note = [about(scorers_of(between), shown)]
    if pairs > MOST_PAIRS:
        rows = rows[(rows["rel_low"] > 0) | (rows["rel_high"] < 0)]
        by_chance = max(1, round(0.05 * pairs))
        note += [
            f"{number_of(pairs, 'pair')}, all in comparisons.csv; here those whose interval leaves out 0",
            f"(by chance alone about {by_chance} would).",
        ]
    head = ["", "scorer", "reduction %", "p", "speakers better, worse, equal"]
    lines = aligned([head, *(_pair(row) for row in rows.to_dict("records"))]) if len(rows) else ["none"]
    return ["", title, *textwrap.wrap(" ".join(note).strip(), 100), "", *lines]


def _about_loops(summary: pd.DataFrame) -> list[str]:
    """Which arms had outputs that repeated themselves; tables of earlier versions do not say."""
    looped = summary.drop_duplicates("arm").set_index("arm").get("looped", pd.Series(dtype=int))
    arms = ", ".join(f"{count} of {arm}" for arm, count in looped.items() if count)
    return ["", f"Outputs that repeated themselves and were decoded again: {arms}"] if arms else []


def _next(results: Path) -> list[str]:
    front = results / "index.html"
    return [
        *([f"Start    {front}"] if front.is_file() else []),
        f"Tables   {results / 'tables'}",
        f"Figures  {results / 'figures'}",
        "Report   snakemake --report report.html (with the --configfile of this run, if it had one)",
        f"Runs     saml mlflow {results} (prints a link to their comparison)",
    ]


def _in_short(results: Path, summary: pd.DataFrame) -> list[str]:
    """Two sentences: the key number with its interval, and where to look."""
    where = f"The tables are in {results / TABLES}; docs/reading-the-report.md says how to read them."
    number = key_number(summary)
    return (
        [where]
        if number is None
        else textwrap.wrap(f"{number.sentence} {where}", 100, break_on_hyphens=False)
    )


def _row(row: dict) -> list[str]:
    return [
        row["arm"],
        percent(row["wer"]),
        percent(row["wer_heldout"]),
        with_interval(row, "rel_fp32"),
        with_interval(row, "rel_nf4"),
        f"{row['model_mb']:.2f} + {row['speaker_mb']:.2f}",
        f"{row['ratio_fp32']:.2f}x",
    ]


def _pair(row: dict) -> list[str]:
    return [pair(row), row["scorer"], with_interval(row, "rel"), p_value(row["p"]), better_worse_equal(row)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: first column left-aligned, others right-aligned, a rule under the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
