"""Medians and ratios of a benchmark's table, by hand."""

import pytest

from benchmarks._arguments import arguments
from benchmarks._report import Report, _ratio
from benchmarks._timing import Timing


def test_ratios_are_those_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    timings = {
        "slow": Timing(wall=[4.0, 8.0, 6.0], processor=[3.0, 3.0, 3.0]),
        "fast": Timing(wall=[2.0, 2.0, 3.0], processor=[1.0, 1.0, 1.0]),
    }
    report = Report("name", "question?", arguments("").parse_args([]))
    rows = report.compare("group", timings, reference="slow")
    assert rows["slow"].ratio == 1.0 and rows["fast"].ratio == 2.0
    assert rows["fast"].processor_ratio == 3.0 and rows["fast"].seconds == 2.0
    report.finish()
    assert "-- group" in capsys.readouterr().out


def test_the_median_is_of_each_rounds_own_ratio() -> None:
    """A machine twice as slow in one round slows both; the ratio of medians would be another."""
    assert _ratio([2.0, 8.0, 6.0], [1.0, 2.0, 6.0]) == 2.0
