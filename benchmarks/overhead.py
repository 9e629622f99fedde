"""What the pipeline itself costs: an experiment's time less the time that its stages worked.

Read from what an experiment leaves behind, nothing is run: Snakemake's benchmark files say how long each job
took and, by when they were written, when; run records say how long the stage inside took. The difference
within jobs is start-up (Python, imports, writing the record); between them it is Snakemake's planning and
waiting. A time when nothing ran for longer than --pause is an interruption and is not counted. Jobs that were
killed leave no benchmark file, though stages inside them may have ended: look at runs that nothing killed.
"""

import csv
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks._arguments import arguments
from benchmarks._report import Report, Row


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("results", type=Path, help="an experiment's folder, results/<experiment>")
    parser.add_argument("--pause", type=float, default=60.0, metavar="SECONDS", help="(60)")
    options = parser.parse_args(given)
    jobs = _jobs(options.results / "benchmarks")
    if not jobs:
        raise SystemExit(
            f"{options.results}: no benchmark files; name a folder results/<experiment> that has run"
        )
    stages = _stages(options.results)
    report = Report("overhead", f"what does the pipeline cost in {options.results.name}?", options)
    _add_whole(report, jobs, stages, options.pause)
    by_rule: dict[str, list[float]] = defaultdict(list)
    for rule, _, seconds in jobs:
        by_rule[rule].append(seconds)
    for rule, times in sorted(by_rule.items(), key=lambda item: -sum(item[1])):
        report.add(
            Row("jobs by rule", rule, sum(times), more={"jobs": len(times), "each": sum(times) / len(times)})
        )
    for stage, times in sorted(stages.items(), key=lambda item: -sum(item[1])):
        more = {"jobs": len(times), "each": sum(times) / len(times)}
        report.add(Row("inside stages, by command", stage, sum(times), more=more))
    report.finish()


def _add_whole(
    report: Report, jobs: list[tuple[str, float, float]], stages: dict[str, list[float]], pause: float
) -> None:
    inside, within = sum(map(sum, stages.values())), sum(seconds for _, _, seconds in jobs)
    wall, busy, paused = _span([(end - seconds, end) for _, end, seconds in jobs], pause)
    count = len(jobs)
    parts = {
        "wall, interruptions left out": wall,
        "a job or more was running": busy,
        "between jobs": wall - busy,
        "all jobs": within,
        "inside stages": inside,
        "start-up and end of jobs": within - inside,
    }
    for name, seconds in parts.items():
        report.add(Row("experiment", name, seconds, more={"jobs": count, "each": seconds / count}))
    report.note(
        f"{(within - inside) / within:.1%} of the jobs' time is start-up; {paused:.0f} s were pauses."
    )
    report.note(f"{(wall - busy) / wall:.1%} of the wall time nothing ran; {within / wall:.2f} jobs at once.")


def _jobs(folder: Path) -> list[tuple[str, float, float]]:
    """(rule, end in seconds since 1970, seconds) of every job that left a benchmark file."""
    jobs = []
    for path in sorted(folder.rglob("*.tsv")):
        with path.open(newline="") as file:
            line = next(csv.DictReader(file, delimiter="\t"))
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        jobs.append((rule, os.stat(path).st_mtime, float(line["s"])))
    return jobs


def _stages(results: Path) -> dict[str, list[float]]:
    """Seconds inside each stage, by command; a record may tell of several stages."""
    from saml.tracking.record import read_record
    from saml.tracking.runs import find_records

    found: dict[str, list[float]] = defaultdict(list)
    for path, _ in find_records(results.parent, results.name):
        for stage, seconds in read_record(path).durations.items():
            found[stage].append(seconds)
    return found


def _span(intervals: list[tuple[float, float]], pause: float) -> tuple[float, float, float]:
    """Wall time without interruptions, the time that at least one interval covers, and the interruptions."""
    intervals = sorted(intervals)
    first, last = intervals[0][0], intervals[0][0]
    busy = paused = 0.0
    for start, end in intervals:
        gap = max(0.0, start - last)
        paused += gap if gap > pause else 0.0
        busy += max(0.0, end - max(start, last))
        last = max(last, end)
    return last - first - paused, busy, paused


if __name__ == "__main__":
    main()
