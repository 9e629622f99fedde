"""Who gains: WER of the speakers in thirds, by how many errors the unadapted model makes for them."""

import numpy as np
import pandas as pd

from saml.evaluation.wer import OPERATIONS

ERRORS = [operation for operation in OPERATIONS if operation != "hits"]
THIRDS = ("fewest errors", "between", "most errors")
# Where there are fewer speakers, a third is one or two people.
LEAST_SPEAKERS = 9


def thirds(wer: pd.DataFrame, reference: str, scorer: str) -> tuple[pd.DataFrame, list[int]]:
    """WER of each arm in each third of the speakers, ordered by their WER under the arm `reference`.

    The same words order the speakers and are counted: chance makes what is gained over `reference` too large
    in the last third and too small in the first.

    Args:
        wer: the table wer.csv; words are pooled over speakers and seeds.
        reference: an arm without adaptation.
        scorer: the scorer whose errors count.

    Returns:
        rates, arms (as in `wer`) by THIRDS, and the number of speakers in each third; no rates where there
        are fewer than `LEAST_SPEAKERS`.
    """
    own = wer[wer["scorer"] == scorer]
    sums = own.groupby(["speaker", "arm"], sort=False)[["words", *ERRORS]].sum()
    before = _rates(sums[sums.index.get_level_values("arm") == reference].droplevel("arm"))
    if len(before) < LEAST_SPEAKERS:
        return pd.DataFrame(), []
    parts = np.array_split(before.sort_values(kind="stable").index.to_numpy(), len(THIRDS))
    rates = {
        name: _rates(own[own["speaker"].isin(part)].groupby("arm", sort=False)[["words", *ERRORS]].sum())
        for name, part in zip(THIRDS, parts, strict=True)
    }
    return pd.DataFrame(rates), [len(part) for part in parts]


def _rates(sums: pd.DataFrame) -> pd.Series:
    return sums[ERRORS].sum(axis=1) / sums["words"]
