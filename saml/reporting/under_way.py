"""How far a run of the workflow is: jobs done, time so far, time left, and the last words of its jobs.

All of it is read from files: Snakemake's own log (jobs by rule, starts, ends), the jobs' logs and their
benchmarks. Nothing is changed, so it can be called at any time, from another terminal too.
"""

import re
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from saml.runtime.errors import SamlError
from saml.runtime.layout import BENCHMARKS, LOGS
from saml.runtime.progress import clock

LOG_FOLDER = Path(".snakemake/log")
FRESH = 120.0  # seconds since its last line after which a job's log is not quoted
QUOTED, WIDTH = 4, 110  # at most so many logs, and characters of a line

_COUNT = re.compile(r"^(\w+) +(\d+)$")
_TIME = re.compile(r"^\[(\w{3} \w{3} +\d+ [\d:]{8} \d{4})\]$")
_START = re.compile(r"^Job (\d+): ")
_END = re.compile(r"^Finished jobid: (\d+) \(Rule: (\w+)\)")
_ERROR = re.compile(r"^ *jobid: (\d+)$")
_DONE = re.compile(r"^(\d+) of (\d+) steps ")
_GROUP = re.compile(r"_group\d+$")  # adapt_group1, adapt_group2, ...: a rule for each group of speakers


@dataclass
class Run:
    """What Snakemake's log says: counts of jobs by rule, times in seconds since 1970.

    `running` has the start of each job that runs, by its number; `seconds` what finished jobs took, by rule.
    The rules of groups of speakers, such as `adapt_group1`, count as one, `adapt`.
    """

    planned: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    started: float | None = None
    done: int = 0
    total: int = 0


def progress(results: Path, *, log: Path | None = None, follow: bool = False, every: float = 60.0) -> None:
    """Print how far the run of an experiment is.

    Args:
        results: `results/<experiment>`.
        log: the log of Snakemake; the newest in .snakemake/log if None.
        follow: repeat every `every` seconds until interrupted, the first time after as many.
        every: seconds between two reports.

    Raises:
        SamlError: there is no log of Snakemake.
    """
    log = newest_log() if log is None else log
    while True:
        if follow:
            time.sleep(every)
        print("\n".join(report(results, read_run(log), time.time())), file=sys.stderr, flush=True)
        if not follow:
            return


def newest_log() -> Path:
    """The log of the latest run of Snakemake in this folder.

    Raises:
        SamlError: there is none.
    """
    found = sorted(LOG_FOLDER.glob("*.snakemake.log"))
    if not found:
        raise SamlError(f"{LOG_FOLDER}: no log of Snakemake; run this in the folder in which Snakemake runs")
    return found[-1]


def report(results: Path, run: Run, now: float) -> list[str]:
    """How far the run is, in one line, and a line for each job whose log has news."""
    so_far = f"{clock(now - run.started)} so far" if run.started is not None else "not yet started"
    parts = [f"{run.done} of {run.total} jobs done", so_far, *_left(results, run, now)]
    return [f"Progress: {', '.join(parts)}", *_quotes(results, run.started or now, now)]


def _left(results: Path, run: Run, now: float) -> list[str]:
    """The time left: "at least" where the length of some jobs is unknown, nothing where that of most is."""
    known = {**benchmarks(results), **{rule: statistics.mean(taken) for rule, taken in run.seconds.items()}}
    left = run.planned - run.finished
    left.pop("all", None)  # does nothing
    # What running jobs have done already is not subtracted: of which rule they are, the log does not say.
    work = sum(known[rule] * count for rule, count in left.items() if rule in known)
    spent = sum(sum(taken) for taken in run.seconds.values())
    busy = spent + sum(now - start for start in run.running.values())
    of_known_length = sum(count for rule, count in left.items() if rule in known)
    if run.started is None or now <= run.started or spent == 0 or 2 * of_known_length < left.total():
        return []
    at_once = max(1.0, busy / (now - run.started))
    word = "about" if of_known_length == left.total() else "at least"
    return [f"{word} {clock(work / at_once)} left"]


def benchmarks(results: Path) -> dict[str, float]:
    """The mean seconds of a rule's jobs in earlier runs of this experiment."""
    folder = results / BENCHMARKS
    taken: dict[str, list[float]] = {}
    for path in folder.rglob("*.tsv"):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        try:
            taken.setdefault(rule, []).append(float(path.read_text("utf-8").splitlines()[1].split("\t")[0]))
        except (OSError, ValueError, IndexError):
            continue  # a job writes it just now
    return {rule: statistics.mean(values) for rule, values in taken.items() if values}


def _quotes(results: Path, since: float, now: float) -> list[str]:
    """The last line of each log that was written to lately and whose job has not ended, newest first."""
    logs, ended = results / LOGS, results / BENCHMARKS
    fresh: list[tuple[float, Path]] = []
    for path in logs.rglob("*.log"):
        written = _written(path)
        if written < since or now - written > FRESH:
            continue
        if _written(ended / path.relative_to(logs).with_suffix(".tsv")) < written:
            fresh.append((written, path))
    lines = []
    for _, path in sorted(fresh, reverse=True)[:QUOTED]:
        if last := _last_line(path):
            name = " ".join(path.relative_to(logs).with_suffix("").parts)
            lines.append(f"  {name}: {last}"[:WIDTH])
    return lines


def _written(path: Path) -> float:
    """When a file was last written; 0 if it does not exist."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 4096))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def read_run(log: Path) -> Run:
    """What a log of Snakemake says.

    Raises:
        SamlError: it cannot be read.
    """
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise SamlError(f"{log}: cannot read Snakemake's log ({error.strerror})") from None
    run, now = Run(), None
    for line in lines:
        if found := _TIME.match(line):
            now = datetime.strptime(found[1], "%a %b %d %H:%M:%S %Y").timestamp()
            run.started = now if run.started is None else run.started
        elif (found := _COUNT.match(line)) and now is None:
            _count(run, found[1], int(found[2]))
        elif found := _DONE.match(line):
            run.done, run.total = int(found[1]), int(found[2])
        elif (found := _START.match(line)) and now is not None:
            run.running[found[1]] = now
        elif (found := _END.match(line)) and now is not None:
            rule = _GROUP.sub("", found[2])
            run.finished[rule] += 1
            if found[1] in run.running:
                run.seconds.setdefault(rule, []).append(now - run.running.pop(found[1]))
        elif found := _ERROR.match(line):
            run.running.pop(found[1], None)
    return run


def _count(run: Run, rule: str, count: int) -> None:
    """A row of the table of jobs."""
    if rule == "total":
        run.total = count
    else:
        run.planned[_GROUP.sub("", rule)] += count
