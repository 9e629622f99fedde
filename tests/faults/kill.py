"""Kill the tiny experiment many times and compare its results with an undisturbed run.

    python -m tests.faults.kill --times 100 --folder /tmp/kill

runs it once undisturbed, then kills Snakemake or one of its jobs with SIGKILL at random times, and starts it
again after each kill. (Times count from the start of a job, because nothing is written before.) Each time it
finishes, its results are compared with the undisturbed run, byte for byte, and deleted, so that there are
kills in all phases. After a kill of Snakemake no writing process may remain. Exits with status 1 at the first
difference.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.experiment import Experiment, differences, kill

# A checkpoint after each step, so that some kills happen while one is written.
HOW = ("all", "--cores", "2", "--config", "checkpoint_seconds=0")
CONFIGURATION = ("tests/configurations/killed.yaml",)


class Lost(Exception):
    """A result differs from that of the undisturbed run."""


@dataclass
class Tally:
    """Counts of kills and runs."""

    kills: int = 0
    of_snakemake: int = 0
    of_jobs: int = 0
    ends: int = 0
    resumed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills ({self.of_snakemake} of Snakemake, {self.of_jobs} of jobs), "
            f"{self.resumed} jobs went on from a checkpoint, "
            f"{self.ends} runs came to the end with the same bytes"
        )


def harness(folder: Path, times: int, seed: int, longest: float) -> Tally:
    """Kill `times` times, each after at most `longest` seconds. Raises Lost."""
    chance, tally = random.Random(seed), Tally()
    undisturbed = Experiment.make(folder / "undisturbed")
    undisturbed.run(*HOW, configs=CONFIGURATION)
    expected = undisturbed.outcome()
    disturbed = Experiment.make(folder / "disturbed")
    while True:
        ended = _one_run(disturbed, chance, longest, tally, kill_it=tally.kills < times)
        tally.resumed += _count_resumed(disturbed)
        if not ended:
            continue
        tally.ends += 1
        _compare(expected, disturbed)
        say(str(tally))
        if tally.kills >= times:
            return tally
        shutil.rmtree(disturbed.results)


def _one_run(
    experiment: Experiment, chance: random.Random, longest: float, tally: Tally, *, kill_it: bool
) -> bool:
    """Start Snakemake, and kill it or one of its jobs; returns whether it finished."""
    if any((experiment.folder / ".snakemake/locks").glob("*")):
        experiment.run("--unlock", "--cores", "1")  # as a user must after a kill of Snakemake
    process = experiment.start(*HOW, configs=CONFIGURATION)
    _wait_for_job(experiment, process)
    if kill_it and not _ends_within(process, chance.uniform(0, longest)):
        jobs = experiment.jobs()
        if jobs and chance.random() < 0.5:
            if kill(chance.choice(jobs)):
                tally.kills, tally.of_jobs = tally.kills + 1, tally.of_jobs + 1
        else:
            process.kill()
            process.wait()
            tally.kills, tally.of_snakemake = tally.kills + 1, tally.of_snakemake + 1
            if left := experiment.wait_until_idle(seconds=20.0):
                raise Lost(f"processes of a killed run are still there: {left}")
            return False
    status = process.wait()
    if status and not kill_it:
        raise Lost(f"a run that nobody disturbed failed:\n{experiment.printed()}")
    return status == 0


def _wait_for_job(experiment: Experiment, process: subprocess.Popen[bytes]) -> None:
    """Wait until a job is running, or nothing is left to do."""
    while process.poll() is None and not experiment.jobs():
        time.sleep(0.05)


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return True
        time.sleep(0.02)
    return False


def _count_resumed(experiment: Experiment) -> int:
    """The number of jobs whose last start continued from a checkpoint; a log counts once."""
    count = 0
    for log in (experiment.results / "logs").rglob("*.log"):
        if "done before)" in log.read_text(errors="replace"):
            count += 1
            log.unlink()
    return count


def _compare(expected: dict[str, str], experiment: Experiment) -> None:
    if different := differences(expected, experiment.outcome()):
        raise Lost(f"not as in an undisturbed run: {', '.join(different)}")


def say(line: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--times", type=int, default=10, help="kills (10)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the times and of the processes that are killed (1)"
    )
    parser.add_argument("--longest", type=float, default=10.0, help="seconds until a kill at most (10)")
    parser.add_argument("--folder", type=Path, help="a new folder to work in (default: a temporary one)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="saml-kill-"))
    try:
        tally = harness(folder, options.times, options.seed, options.longest)
    except Lost as error:
        print(f"kill: {error}\nkill: everything is still in {folder}", file=sys.stderr)
        return 1
    if options.folder is None:
        shutil.rmtree(folder)
    say(f"nothing lost: {tally}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
