"""A pipeline that is killed and restarted gives the same results."""

from pathlib import Path

import pytest

from tests.faults.kill import harness


@pytest.mark.system
@pytest.mark.timeout(1800)
def test_nothing_is_lost_however_often_it_is_killed(tmp_path: Path) -> None:
    """A few kills; `python -m tests.faults.kill --times 100` runs for an hour."""
    tally = harness(tmp_path, times=10, seed=1, longest=10.0)
    assert tally.kills == 10 and tally.ends >= 1
