"""The best rate, from handwritten losses."""

import math
from pathlib import Path

import pytest

from saml.runtime.errors import SamlError
from saml.tracking import Record
from saml.tuning.ranking import Row, Trial, best_rate, choose, losses_by_speaker

NAN = math.nan


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ({0.001: 0.5, 0.003: 0.4, 0.01: 0.6}, 0.003),
        ({0.01: 0.4, 0.003: 0.4, 0.001: 0.5}, 0.003),  # a tie: the lower rate, in any order
        ({0.001: 0.5, 0.003: NAN, 0.01: math.inf}, 0.001),
        ({0.001: NAN}, None),
        ({}, None),
    ],
)
def test_best_rate(losses: dict[float, float], best: float | None) -> None:
    assert best_rate(losses) == best


def test_losses_of_a_record() -> None:
    """One for each requested speaker, in that order; NaN for a speaker without a loss."""
    scores = {"a/loss": 0.25, "a/accuracy": 0.9, "b%20b/diverged": 1.0, "c/loss": 0.5, "loss": 9.0}
    record = Record(stage="judge-rate", experiment="test", scores=scores)
    path = Path("run.jsonl")
    losses = losses_by_speaker(record, ["c", "b%20b", "a"], path)
    assert losses == pytest.approx([0.5, NAN, 0.25], nan_ok=True)
    with pytest.raises(SamlError, match=r"run.jsonl: tuning speaker d was not judged"):
        losses_by_speaker(record, ["a", "d"], path)


def test_choose() -> None:
    """Unweighted means; a rate that diverges for one speaker is excluded; edges of the grid are marked."""
    trials = [
        Trial("saml", "pretraining", 0.01, 0.5),
        Trial("saml", "pretraining", 0.001, 0.7),
        Trial("saml", "pretraining", 0.003, 0.6),
        Trial("saml", "adaptation", 0.001, 0.4),
        Trial("saml", "adaptation", 0.001, 0.6),
        Trial("saml", "adaptation", 0.003, 0.1),
        Trial("saml", "adaptation", 0.003, 0.7),
        Trial("saml", "adaptation", 0.01, 0.1),
        Trial("saml", "adaptation", 0.01, NAN),
        Trial("lora", "adaptation", 0.01, NAN),
    ]
    rows = [
        Row("saml", "pretraining", 0.001, 0.7, 1, 0, False, False),
        Row("saml", "pretraining", 0.003, 0.6, 1, 0, False, False),
        Row("saml", "pretraining", 0.01, 0.5, 1, 0, True, True),
        Row("saml", "adaptation", 0.001, 0.5, 2, 0, False, False),
        Row("saml", "adaptation", 0.003, 0.4, 2, 0, True, False),
        Row("saml", "adaptation", 0.01, NAN, 2, 1, False, False),
        Row("lora", "adaptation", 0.01, NAN, 1, 1, False, False),
    ]
    found = choose(trials)
    for row, wanted in zip(found, rows, strict=True):
        assert row.loss == pytest.approx(wanted.loss, nan_ok=True)
        assert _without_loss(row) == _without_loss(wanted)


def _without_loss(row: Row) -> tuple:
    return row.arm, row.stage, row.rate, row.speakers, row.diverged, row.chosen, row.edge
