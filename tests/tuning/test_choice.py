"""Which rate is best, from losses made up by hand."""

import math

import pytest

from saml.tracking import Record
from saml.tuning.choice import Row, Trial, best_rate, choose, dev_loss

NAN = math.nan


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ({0.001: 0.5, 0.003: 0.4, 0.01: 0.6}, 0.003),
        ({0.01: 0.4, 0.003: 0.4, 0.001: 0.5}, 0.003),  # a tie: the lower rate, wherever it stands
        ({0.001: 0.5, 0.003: NAN, 0.01: math.inf}, 0.001),
        ({0.001: NAN}, None),
        ({}, None),
    ],
)
def test_best_rate(losses: dict[float, float], best: float | None) -> None:
    assert best_rate(losses) == best


@pytest.mark.parametrize(
    ("scores", "loss"),
    [
        ({"dev/loss": 0.25, "dev/accuracy": 0.9, "dev/pass": 3.0}, 0.25),
        ({"fold0/dev/loss": 0.1, "fold1/dev/loss": 0.3, "fold10/dev/loss": 0.5}, 0.3),
        ({"fold0/dev/loss": 0.1, "fold1/dev/loss": math.inf}, NAN),
        ({"diverged": 1.0}, NAN),
        ({}, NAN),
    ],
)
def test_dev_loss_of_a_record(scores: dict[str, float], loss: float) -> None:
    record = Record(stage="adapt", experiment="test", scores=scores)
    assert dev_loss(record) == pytest.approx(loss, nan_ok=True)


def test_choose() -> None:
    """Speakers count alike; a rate that diverges for one of them is out; the edges of the grid are named."""
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
        assert row.dev_loss == pytest.approx(wanted.dev_loss, nan_ok=True)
        assert _without_loss(row) == _without_loss(wanted)


def _without_loss(row: Row) -> tuple:
    return row.arm, row.stage, row.rate, row.trials, row.diverged, row.chosen, row.edge
