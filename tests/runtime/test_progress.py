"""Progress lines: counts and remaining time."""

import time

import pytest

from saml.runtime.progress import Progress, clock


def test_the_estimate_is_based_on_the_units_of_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resumed job has done 6 of 20 units before; 2 more in 10 s leave 12 for 60 s."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Progress("training", 20, start=6, every=5.0) as progress:
        now += 4
        progress.update(7, "too early for a line")
        now += 6
        progress.update(8, "loss 1.5")
        now += 60
        progress.update(20)
    assert capsys.readouterr().err.splitlines() == [
        "training: 14 to do (6 done before)",
        "training: 8/20, loss 1.5, 1:00 left",
        "training: 20/20, 0:00 left",
        "training: done, 20/20 in 1:10",
    ]


def test_an_error_stops_the_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), Progress("training", 3):
        raise ZeroDivisionError
    assert "training: stopped, 0/3 in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (7384, "2:03:04"), (float("nan"), "?")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
