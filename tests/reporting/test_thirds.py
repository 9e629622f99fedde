"""Speakers in thirds, counted by hand."""

import pandas as pd

from saml.reporting.thirds import LEAST_SPEAKERS, THIRDS, thirds


def _table(speakers: int) -> pd.DataFrame:
    """Speaker n has 10 words, n errors in fp32, and under pqm one error in two seeds; in falling order."""
    rows = []
    for number in range(speakers, 0, -1):
        for arm, seed, errors in (("fp32", 0, number), ("pqm", 1, 1), ("pqm", 2, 0)):
            for scorer, more in (("released", 0), ("whisper", 5)):
                rows.append(
                    {
                        **{"speaker": f"s{99 - number}", "arm": arm, "seed": seed, "scorer": scorer},
                        **{"words": 10, "substitutions": errors, "deletions": 0, "insertions": more},
                    }
                )
    return pd.DataFrame(rows)


def test_rates_are_pooled_over_the_speakers_of_a_third_and_seeds() -> None:
    rates, sizes = thirds(_table(10), "fp32", "released")
    assert sizes == [4, 3, 3] and list(rates.columns) == list(THIRDS) and list(rates.index) == ["fp32", "pqm"]
    # Speakers 1 to 4, 5 to 7, 8 to 10; under pqm one error in 20 words each.
    assert rates.loc["fp32"].round(6).tolist() == [0.25, 0.6, 0.9]
    assert rates.loc["pqm"].round(6).tolist() == [0.05, 0.05, 0.05]


def test_few_speakers_have_no_thirds() -> None:
    assert LEAST_SPEAKERS == 9
    rates, sizes = thirds(_table(8), "fp32", "released")
    assert rates.empty and sizes == []
