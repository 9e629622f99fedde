"""The tables of an experiment, from its hypotheses and files; docs/reading-the-report.md explains columns.

wer.csv          one row per arm, speaker, seed and scorer: counts of the test part, WER, CER
summary.csv      one row per arm and scorer: pooled WER, reductions against fp32 and nf4, sizes
comparisons.csv  one row per pair of arms and scorer: the reduction of arm_a's WER against arm_b's
intervals.csv    WER with its 95 % interval, per arm and scorer: pooled (speaker empty), and per speaker

Rates and reductions are fractions, not per cent. A cell is empty where there is nothing to compare with.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saml.evaluation.wer import OPERATIONS, error_rate, reference_units
from saml.reporting import pages as as_pages
from saml.reporting.hypotheses import Arms, read_counts
from saml.reporting.pairs import DIFFERENCE, SPEAKERS, Paired, pairs, unadapted
from saml.reporting.published import NOTE, TITLE, Finished, published_sections, published_table
from saml.reporting.sizes import MB, Size, arm_size
from saml.runtime.files import write_atomically
from saml.runtime.progress import Progress

WER = ["experiment", "arm", "speaker", "seed", "scorer", "utterances", "words", *OPERATIONS, "wer", "cer"]
_AGAINST = ["rel_{0}", "rel_{0}_low", "rel_{0}_high", "p_{0}"]
SUMMARY = [
    *["arm", "scorer", "seeds", "speakers", "words", "wer", "wer_heldout"],
    *[column.format("fp32") for column in _AGAINST],
    *[column.format("nf4") for column in _AGAINST],
    *["model_mb", "speaker_mb", "ratio_fp32"],
]
COMPARISONS = ["arm_a", "arm_b", "scorer", *DIFFERENCE, *SPEAKERS]
_NAMES = (
    *("experiment", "arm", "speaker", "scorer", "arm_a", "arm_b"),
    *("reference", "question", "kept"),
)
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
    """Stage: make the tables.

    Args:
        results: results/<experiment>.
        experiment: its name.
        arms: the arms to tabulate, in the order of the tables' rows: name to the config's entry.
        speakers: the target speakers.
        seeds: the seeds of the adapted arms.
        settings: {"scoring": {"scorers", "draws", "seed"}}.
        wer, summary, comparisons, intervals: the tables to write; `intervals` may be left out.
        pages: folder for the tables as pages; where it is left out there are none.
        record: the run record to write.
        corpus, family: for the run record.

    Raises:
        SamlError: hypotheses or files are missing, damaged or do not pair up.
    """
    from saml.tracking import RunRecord

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
            this = Finished(experiment, corpus or "-", family or "-", found["summary"])
            for path in write_pages(pages, found, this, len(speakers)):
                run.file(path)
        progress.update(3)
    for name in arms:
        for scorer in scorers:
            # The arm first: MLflow cuts the heads of its columns short at the end.
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
    """summary.csv: `words` are those of all speakers and seeds; an arm is not compared with itself."""
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
                *_against(paired, arm, unadapted(arms, "fp32"), scorer),
                *_against(paired, arm, unadapted(arms, "nf4"), scorer),
                *(size.model, size.speaker, size.ratio),
            ]
        )
    return pd.DataFrame(rows, columns=SUMMARY)


def comparison_table(paired: Paired, arms: Arms, scorers: Sequence[str]) -> pd.DataFrame:
    """comparisons.csv: positive where arm_a's WER is lower; "better" are the speakers for whom it is."""
    rows = []
    for arm, reference in pairs(arms):
        for scorer in scorers:
            rows.append([arm, reference, scorer, *paired.difference(arm, reference, scorer).cells()])
    return pd.DataFrame(rows, columns=COMPARISONS)


def interval_table(
    paired: Paired, arms: Arms, speakers: Sequence[str], scorers: Sequence[str]
) -> pd.DataFrame:
    """intervals.csv: utterances resampled, pooled (speaker empty) and speaker by speaker."""
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
    folder: Path, tables: Mapping[str, pd.DataFrame], this: Finished, speakers: int
) -> list[Path]:
    """The tables as pages in `folder`: what each is called, how to read it, its sections. Their paths."""
    summary, wer = tables["summary"], tables["wer"]
    beside = published_table([this])
    resampled = "Intervals are of 95 %, from a paired bootstrap over utterances within speakers."
    contents: dict[str, tuple[str, str, as_pages.Sections, pd.DataFrame]] = {
        "summary": (
            "Summary by arm",
            "Words pooled over speakers and seeds. Below by: the share of the other model's WER that is gone "
            f"(negative: that came on top). {resampled}",
            as_pages.summary_sections(summary),
            summary,
        ),
        "comparisons": (
            "Arms in pairs",
            "Below by: the share of the second arm's WER by which the first arm's is lower. An interval that "
            f"contains 0 is no finding. {resampled}",
            as_pages.comparison_sections(tables["comparisons"]),
            tables["comparisons"],
        ),
        "errors": (
            "Kinds of error by arm",
            "Per 100 words of the reference. Substitutions, deletions and insertions together are the WER.",
            as_pages.error_sections(wer),
            wer.groupby(["arm", "scorer"], sort=False)[["words", *OPERATIONS]].sum().reset_index(),
        ),
        "counts": (
            "Counts by speaker, arm and seed",
            "Of the test parts; the folds of a cross-validation are summed. Seed 0: nothing is adapted.",
            as_pages.count_sections(wer),
            wer,
        ),
        "sizes": (
            "Sizes",
            "Bytes of the files as they are, in MB of a million bytes; routers and all experts are counted.",
            as_pages.size_sections(summary),
            summary[["arm", "model_mb", "speaker_mb", "ratio_fp32"]].drop_duplicates(),
        ),
        "published": (TITLE, NOTE, published_sections(beside), beside),
    }
    if "intervals" in tables:
        contents["speakers"] = (
            "WER by speaker and arm",
            f"In per cent, seeds pooled. {resampled}",
            as_pages.interval_sections(tables["intervals"]),
            tables["intervals"],
        )
    for name, (title, note, sections, data) in contents.items():
        as_pages.write_page(folder / f"{name}.html", title, f"{note} {caveat(speakers)}", sections, data)
    return [folder / f"{name}.html" for name in contents]


def caveat(speakers: int) -> str:
    """What stands under every table and figure of error rates."""
    return f"{speakers} target speaker{'s' if speakers != 1 else ''} cannot speak for all speakers."


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, the same bytes for the same values: six decimals, nothing for what is missing."""
    text = table.to_csv(index=False, float_format="%.6f", na_rep="", lineterminator="\n")
    write_atomically(path, text.encode("utf-8"))


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote; names stay text, also one that looks like a number ("115")."""
    names = dict.fromkeys(_NAMES, str)
    table = pd.read_csv(path, dtype=names, na_values=[""], keep_default_na=False)
    return table.assign(**{name: table[name].fillna("") for name in names if name in table})


def _sum(rows: pd.DataFrame, unit: str) -> dict[str, int]:
    """The counts of words or of characters, summed over rows."""
    return {operation: int(rows[f"{unit}.{operation}"].sum()) for operation in OPERATIONS}


def _against(paired: Paired, arm: str, reference: str | None, scorer: str) -> list[float | None]:
    """Reduction, its interval and p; nothing against itself or an arm that is not run."""
    if reference is None or reference == arm:
        return [None] * 4
    found = paired.difference(arm, reference, scorer)
    return [found.value, found.within.low, found.within.high, found.p]
