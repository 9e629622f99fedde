"""Paired comparisons of arms on counts so small that every interval is known."""

import pandas as pd
import pytest

from saml.reporting.hypotheses import COUNTS
from saml.reporting.pairs import Paired


def paired(errors: dict[tuple[str, str], list[int]]) -> Paired:
    """Arms with `errors` substitutions in utterances of 10 words, by (arm, speaker)."""
    rows = []
    for (arm, speaker), numbers in errors.items():
        for number, wrong in enumerate(numbers):
            rows.append(
                [arm, speaker, 0, f"{speaker}{number}", "released", 10 - wrong, wrong, 0, 0, 0, 0, 0, 0]
            )
    columns = ["arm", "speaker", "seed", "utterance", "scorer", *COUNTS]
    return Paired(pd.DataFrame(rows, columns=columns), draws=1000, seed=1)


def test_one_utterance_per_speaker_varies_only_with_the_speakers() -> None:
    """The arm removes all errors of anna and none of bert."""
    found = paired({("nf4", "anna"): [4], ("nf4", "bert"): [4], ("saml", "anna"): [0], ("saml", "bert"): [4]})
    difference = found.difference("saml", "nf4", "released")
    assert difference.value == pytest.approx(0.5)
    assert (difference.within.low, difference.within.high) == pytest.approx((0.5, 0.5))
    # Draws of anna twice and of bert twice, each in a quarter of the cases.
    assert (difference.across.low, difference.across.high) == pytest.approx((0.0, 1.0))
    assert (difference.better, difference.worse, difference.equal) == (1, 0, 1)
    interval = found.wer_interval("saml", "released")
    assert (interval.low, interval.high) == pytest.approx((0.2, 0.2))


def test_intervals_of_a_speaker_use_only_that_speaker() -> None:
    found = paired({("nf4", "anna"): [10, 10], ("nf4", "bert"): [0, 4]})
    ((arm, scorer, rate, interval),) = found.speaker_intervals("bert")
    assert (arm, scorer, rate) == ("nf4", "released", pytest.approx(0.2))
    # Two utterances of bert: both the first, or both the second, each in a quarter of the draws.
    assert (interval.low, interval.high) == pytest.approx((0.0, 0.4))


def test_a_worse_arm_has_a_negative_reduction() -> None:
    found = paired({("nf4", "anna"): [2, 2], ("saml", "anna"): [4, 3]})
    difference = found.difference("saml", "nf4", "released")
    assert difference.value == pytest.approx(-0.75) and difference.within.high < 0
    assert (difference.better, difference.worse, difference.equal) == (0, 1, 0)
    assert difference.p == pytest.approx(2 / 1001)
