"""Measured results beside the published ones: relative WER reductions, and how many times smaller.

published.csv has one row per experiment, arm and scorer:

    experiment, corpus, family, arm, scorer
    wer, rel_fp32 ..., rel_nf4 ..., ratio_fp32     measured: as in summary.csv
    published_rel_fp32, published_ratio_fp32       not measured: of this arm and family in its paper, or empty

Published figures are of other models and speakers, over LibriSpeech and TED-LIUM 3 together.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from saml.reporting.wording import percent, with_interval

# The abstracts' relative WER reductions against the full-precision model. PQM: ICASSP 2024, arXiv 2309.09136;
# SAML: Interspeech 2024, arXiv 2406.19706. The Conformer is an attention encoder-decoder in both.
REDUCTIONS = {
    ("whisper", "pqm"): 0.151,
    ("conformer", "pqm"): 0.233,
    ("whisper", "saml"): 0.291,
    ("conformer", "saml"): 0.311,
}
# "7 times smaller", in both: of the quantised model, as the papers count.
SMALLER = 7.0

TITLE = "Beside the published figures"
NOTE = (
    'Columns headed "published" are not measured here: they are the figures of abstracts (PQM: arXiv '
    "2309.09136, SAML: arXiv 2406.19706), of other models and speakers, LibriSpeech and TED-LIUM 3 together, "
    "without intervals. All other columns are measured. Reduction: relative WER reduction (negative: the WER "
    "is higher)."
)

_INTERVAL = ("", "_low", "_high")
MEASURED = [
    *["arm", "scorer", "wer"],
    *[f"rel_{reference}{end}" for reference in ("fp32", "nf4") for end in _INTERVAL],
    "ratio_fp32",
]
PUBLISHED = ["experiment", "corpus", "family", *MEASURED, "published_rel_fp32", "published_ratio_fp32"]


@dataclass(frozen=True)
class Finished:
    """A finished experiment: name, corpus, family of models, and summary.csv."""

    experiment: str
    corpus: str
    family: str
    summary: pd.DataFrame


def published_table(experiments: Iterable[Finished]) -> pd.DataFrame:
    """published.csv; experiments and arms in the given order."""
    tables = []
    for done in experiments:
        names = {"experiment": done.experiment, "corpus": done.corpus, "family": done.family}
        table = done.summary[MEASURED].assign(**names)
        reductions = [REDUCTIONS.get((done.family, arm)) for arm in table["arm"]]
        table["published_rel_fp32"] = pd.Series(reductions, index=table.index, dtype="float64")
        table["published_ratio_fp32"] = table["published_rel_fp32"].where(
            table["published_rel_fp32"].isna(), SMALLER
        )
        tables.append(table[PUBLISHED])
    return pd.concat(tables, ignore_index=True)


def published_sections(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """published.csv as text, a section per experiment and scorer."""
    sections = {}
    for names, rows in table.groupby(["experiment", "corpus", "family", "scorer"], sort=False):
        experiment, corpus, family, scorer = names
        heading = f"{experiment} ({family} on {corpus}), scorer: {scorer}"
        sections[heading] = pd.DataFrame([_row(row) for row in rows.to_dict("records")])
    return sections


def _row(row: dict) -> dict[str, str]:
    ratio = row["published_ratio_fp32"]
    return {
        "arm": row["arm"],
        "WER, %": percent(row["wer"]),
        "reduction vs fp32, %": with_interval(row, "rel_fp32"),
        "published: reduction vs fp32, %": percent(row["published_rel_fp32"]),
        "reduction vs nf4, %": with_interval(row, "rel_nf4"),
        "times smaller": f"{row['ratio_fp32']:.2f}",
        "published: times smaller": "-" if pd.isna(ratio) else f"{ratio:g}",
    }
