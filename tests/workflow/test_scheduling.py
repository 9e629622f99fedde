"""When Snakemake chooses the next jobs."""

import pytest
from workflow_project import ROOT, Project

# Python reads it at its start. Each timer that Snakemake sets makes it choose once more.
COUNTING = """
import threading

class Timer(threading.Timer):
    def start(self):
        with open("timers", "a") as file:
            file.write(".")
        super().start()

threading.Timer = Timer
"""


@pytest.mark.parametrize(("flags", "polls"), [((), False), (("--max-jobs-per-timespan", "50/1s"), True)])
def test_nothing_makes_it_choose_but_a_limit_that_was_asked_for(
    fresh: Project, flags: tuple[str, ...], polls: bool
) -> None:
    (fresh.folder / "python").mkdir()
    (fresh.folder / "python" / "sitecustomize.py").write_text(COUNTING)
    outcome = fresh.snakemake(
        "--cores",
        "2",
        "results/test/data/corpus/recordings.jsonl.gz",
        *flags,
        PYTHONPATH=f"{fresh.folder / 'python'}:{ROOT}",
    )
    assert outcome.status == 0, outcome.text
    assert (fresh.folder / "timers").exists() is polls
