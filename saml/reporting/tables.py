"""The tables of an experiment, from its hypotheses and files; docs/reading-the-report.md explains columns.

wer.csv          one row per arm, speaker, seed and scorer: counts of the test part, WER, CER
summary.csv      one row per arm and scorer: pooled WER, relative WER reductions against fp32 and nf4, sizes
comparisons.csv  one row per pair of arms and scorer: the relative WER reduction of arm_a against arm_b
intervals.csv    WER with its 95 % interval, per arm and scorer: pooled (speaker empty), and per speaker

Rates and reductions are fractions, not per cent. Cells without a reference to compare with are empty.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saml.evaluation.wer import OPERATIONS, error_rate, reference_units
from saml.reporting import pages as page_files
from saml.reporting.csv_tables import read_table, write_table
from saml.reporting.hypotheses import Arms, read_counts
from saml.reporting.pairs import COMPARISON_COLUMNS, Paired, pairs, unadapted
from saml.reporting.published import NOTE, TITLE, Finished, published_sections, published_table
from saml.reporting.sizes import MB, Size, arm_size
from saml.reporting.wording import caveat
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

WER = ["experiment", "arm", "speaker", "seed", "scorer", "utterances", "words", *OPERATIONS, "wer", "cer"]
_AGAINST = ["rel_{0}", "rel_{0}_low", "rel_{0}_high", "p_{0}"]
SUMMARY = [
    *["arm", "scorer", "seeds", "speakers", "words", "wer", "wer_heldout", "looped", "formatted"],
    *[column.format("fp32") for column in _AGAINST],
    *[column.format("nf4") for column in _AGAINST],
    *["model_mb", "speaker_mb", "ratio_fp32"],
]
COMPARISONS = ["arm_a", "arm_b", "scorer", *COMPARISON_COLUMNS]
INTERVALS = ["arm", "speaker", "scorer", "wer", "wer_low", "wer_high"]


def tabulate(
    *,
    results: Path,
    experiment: str,
    arms: Arms,
    speakers: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    wer: Path,
    summary: Path,
    comparisons: Path,
    record: Path,
    intervals: Path | None = None,
    pages: Path | None = None,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: write the tables.

    Args:
        results: `results/<experiment>`.
        experiment: its name.
        arms: the arms to tabulate, in the order of the tables' rows: name to the config's entry.
        speakers: the target speakers.
        seeds: the seeds of the adapted arms.
        settings: {"scoring": {"scorers", "draws", "seed"}}.
        wer, summary, comparisons, intervals: the tables to write; `intervals` may be left out.
        pages: folder for the tables as HTML pages; none if left out.
        record: the run record to write.
        corpus, family: for the run record.

    Raises:
        SamlError: hypotheses or files are missing, damaged or cannot be paired.
    """
    scoring = settings["scoring"]
    scorers = list(scoring["scorers"])
    names = {"wer": wer, "summary": summary, "comparisons": comparisons, "intervals": intervals}
    run = RunRecord(stage="tabulate", experiment=experiment, settings=settings, corpus=corpus, family=family)
    with Progress("tabulate", 3) as progress:
        counts = read_counts(results, arms, speakers, seeds, scorers)
        progress.update(1, "hypotheses read")
        test = counts[counts["part"] == "test"]
        paired = Paired(test, draws=scoring["draws"], seed=scoring["seed"])
        progress.update(2, f"{scoring['draws']} draws made")
        sizes = {name: arm_size(results, name, arm, speakers, seeds) for name, arm in arms.items()}
        tables = {
            wer: wer_table(test, experiment),
            summary: summary_table(counts, paired, arms, sizes),
            comparisons: comparison_table(paired, arms, scorers),
        }
        if intervals is not None:
            tables[intervals] = interval_table(paired, arms, speakers, scorers)
        for path, table in tables.items():
            write_table(table, path)
            run.file(path)
        if pages is not None:
            found = {name: read_table(path) for name, path in names.items() if path is not None}
            finished = Finished(experiment, corpus or "-", family or "-", found["summary"])
            for path in write_pages(pages, found, finished, len(speakers)):
                run.file(path)
        progress.update(3)
    for name in arms:
        for scorer in scorers:
            # The arm first: MLflow truncates the names of its columns at the end.
            run.score(f"{name}/wer/{scorer}", paired.wer(name, scorer))
        run.size(f"model/{name}", round(sizes[name].model * MB))
        run.size(f"speaker/{name}", round(sizes[name].speaker * MB))
    run.write(record)


def wer_table(test: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """wer.csv from the test rows of the counts, in their order; folds of a cross-validation are summed."""
    rows = []
    for key, group in test.groupby(["arm", "speaker", "seed", "scorer"], sort=False):
        words, characters = _sum(group, "words"), _sum(group, "characters")
        numbers = [len(group), reference_units(words), *words.values()]
        rows.append([experiment, *key, *numbers, error_rate(words), error_rate(characters)])
    return pd.DataFrame(rows, columns=WER)


def summary_table(
    counts: pd.DataFrame, paired: Paired, arms: Arms, sizes: Mapping[str, Size]
) -> pd.DataFrame:
    """summary.csv: `words` counts all speakers and seeds; an arm is not compared with itself."""
    rows = []
    for names, group in counts.groupby(["arm", "scorer"], sort=False):
        arm, scorer = map(str, names)
        test, heldout = group[group["part"] == "test"], group[group["part"] == "heldout"]
        words, size = _sum(test, "words"), sizes[arm]
        rows.append(
            [
                *(arm, scorer, test["seed"].nunique(), test["speaker"].nunique()),
                *(reference_units(words), error_rate(words)),
                error_rate(_sum(heldout, "words")) if len(heldout) else None,
                *(int(test["looped"].sum()), float(test["formatted"].mean())),
                *_against(paired, arm, unadapted(arms, "fp32"), scorer),
                *_against(paired, arm, unadapted(arms, "nf4"), scorer),
                *(size.model, size.speaker, size.ratio),
            ]
        )
    return pd.DataFrame(rows, columns=SUMMARY)


def comparison_table(paired: Paired, arms: Arms, scorers: Sequence[str]) -> pd.DataFrame:
    """comparisons.csv: positive, and a speaker counts as better, where arm_a has the lower WER."""
    rows = []
    for arm, reference in pairs(arms):
        for scorer in scorers:
            rows.append([arm, reference, scorer, *paired.difference(arm, reference, scorer).cells()])
    return pd.DataFrame(rows, columns=COMPARISONS)


def interval_table(
    paired: Paired, arms: Arms, speakers: Sequence[str], scorers: Sequence[str]
) -> pd.DataFrame:
    """intervals.csv: utterances resampled, pooled (speaker empty) and per speaker."""
    rows = []
    for arm in arms:
        for scorer in scorers:
            pooled = paired.wer_interval(arm, scorer)
            rows.append([arm, "", scorer, paired.wer(arm, scorer), pooled.low, pooled.high])
    for speaker in speakers:
        for arm, scorer, rate, interval in paired.speaker_intervals(speaker):
            rows.append([arm, speaker, scorer, rate, interval.low, interval.high])
    return pd.DataFrame(rows, columns=INTERVALS)


def write_pages(
    folder: Path, tables: Mapping[str, pd.DataFrame], finished: Finished, speakers: int
) -> list[Path]:
    """Write the tables as HTML pages in `folder`, with a title and a note each; their paths."""
    summary, wer = tables["summary"], tables["wer"]
    published = published_table([finished])
    resampled = "Intervals: 95 %, paired bootstrap, utterances resampled within speakers."
    contents: dict[str, tuple[str, str, page_files.Sections, pd.DataFrame]] = {
        "summary": (
            "Summary by arm",
            "Words pooled over speakers and seeds. Reduction: relative WER reduction (negative: the WER is "
            f"higher). {resampled}",
            page_files.summary_sections(summary),
            summary,
        ),
        "comparisons": (
            "Arms in pairs",
            "Reduction: relative WER reduction of the first arm against the second; not significant if its "
            f"interval contains 0. {resampled}",
            page_files.comparison_sections(tables["comparisons"]),
            tables["comparisons"],
        ),
        "errors": (
            "Kinds of error by arm",
            "Per 100 words of the reference. The WER is the sum of substitutions, deletions and insertions.",
            page_files.error_sections(wer),
            wer.groupby(["arm", "scorer"], sort=False)[["words", *OPERATIONS]].sum().reset_index(),
        ),
        "counts": (
            "Counts by speaker, arm and seed",
            "Test parts; the folds of a cross-validation are summed. Seed 0: arms without adaptation.",
            page_files.count_sections(wer),
            wer,
        ),
        "sizes": (
            "Sizes",
            "Sizes of the files in MB (10^6 bytes), routers and all experts included.",
            page_files.size_sections(summary),
            summary[["arm", "model_mb", "speaker_mb", "ratio_fp32"]].drop_duplicates(),
        ),
        "published": (TITLE, NOTE, published_sections(published), published),
    }
    if "intervals" in tables:
        contents["speakers"] = (
            "WER by speaker and arm",
            f"WER in per cent, seeds pooled. {resampled}",
            page_files.interval_sections(tables["intervals"]),
            tables["intervals"],
        )
    for name, (title, note, sections, data) in contents.items():
        page_files.write_page(folder / f"{name}.html", title, f"{note} {caveat(speakers)}", sections, data)
    return [folder / f"{name}.html" for name in contents]


def _sum(rows: pd.DataFrame, unit: str) -> dict[str, int]:
    """The counts of words or of characters, summed over rows."""
    return {operation: int(rows[f"{unit}.{operation}"].sum()) for operation in OPERATIONS}


def _against(paired: Paired, arm: str, reference: str | None, scorer: str) -> list[float | None]:
    """Reduction, its interval and p; empty against itself or without a reference."""
    if reference is None or reference == arm:
        return [None] * 4
    found = paired.difference(arm, reference, scorer)
    return [found.value, found.within.low, found.within.high, found.p]
