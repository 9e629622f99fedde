"""How far a run is, from a log as Snakemake writes it."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from saml.reporting.under_way import benchmarks, newest_log, progress, read_run, report
from saml.runtime.errors import SamlError

HEAD = """\
Provided cores: 2 (use --cores to define parallelism)
Job stats:
job             count
------------  -------
prepare_pool        1
train_base          1
adapt               6
all                 1
total               9

Select jobs to execute...
"""
FIRST = """\
Execute 1 jobs...

[Tue Dec  1 12:00:00 2026]
Job 4: Features of the pool base
[Tue Dec  1 12:00:10 2026]
Finished jobid: 4 (Rule: prepare_pool)
1 of 9 steps (11%) done
[Tue Dec  1 12:00:10 2026]
Job 3: Training the base model; how far it is: results/tiny/logs/train_base.log
"""
SECOND = """\
[Tue Dec  1 12:05:10 2026]
Finished jobid: 3 (Rule: train_base)
2 of 9 steps (22%) done
[Tue Dec  1 12:05:10 2026]
Job 7: Adapting saml to x, seed 1
Job 8: Adapting saml to y, seed 1
[Tue Dec  1 12:06:10 2026]
Finished jobid: 7 (Rule: adapt)
3 of 9 steps (33%) done
"""
START = datetime(2026, 12, 1, 12, 0, 0).timestamp()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for folder in ("logs", "benchmarks"):
        (tmp_path / "tiny" / folder).mkdir(parents=True)
    return tmp_path / "tiny"


def put(path: Path, text: str, when: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (when, when))


def lines(results: Path, text: str, after: float) -> list[str]:
    """The report on a log with `text`, so many seconds after the run's start."""
    (results / "snakemake.log").write_text(text, encoding="utf-8")
    return report(results, read_run(results / "snakemake.log"), START + after)


def test_jobs_and_time_so_far_and_what_a_job_says(results: Path) -> None:
    put(results / "logs/train_base.log", "training: 12 to do\ntraining: 3/12, 1:20 left\n", START + 65)
    put(results / "logs/prepare_pool/base.log", "done\n", START + 9)
    put(results / "benchmarks/prepare_pool/base.tsv", "s\n9.0\n", START + 10)
    assert lines(results, HEAD + FIRST, 70) == [
        "Progress: 1 of 9 jobs done, 1:10 so far",
        "  train_base: training: 3/12, 1:20 left",
    ]


def test_logs_of_earlier_runs_and_of_jobs_that_died_are_not_quoted(results: Path) -> None:
    put(results / "logs/quantise.log", "of yesterday\n", START - 86_400)
    put(results / "logs/train_base.log", "its last words\n", START + 20)
    assert lines(results, HEAD + FIRST, 600)[1:] == []


def test_the_time_left_is_that_of_jobs_like_those_that_are_done(results: Path) -> None:
    """Five adaptations of 60 s are left, 10 + 300 + 60 s of work and 60 s of a running job took 370 s."""
    at_once = (10 + 300 + 60 + 60) / 370
    minutes, seconds = divmod(round(5 * 60 / at_once), 60)
    first = lines(results, HEAD + FIRST + SECOND, 370)[0]
    assert first == f"Progress: 3 of 9 jobs done, 6:10 so far, about {minutes}:{seconds:02d} left"


def test_the_time_left_is_not_told_while_that_of_most_jobs_is_unknown(results: Path) -> None:
    assert " left" not in lines(results, HEAD + FIRST, 100)[0]
    # An earlier run knew how long adaptations take; only the base model's training is unknown.
    for number in range(2):
        put(results / f"benchmarks/adapt/s{number}.tsv", f"s\th:m:s\n{50 + 20 * number}.0\t0\n", START - 9)
    assert benchmarks(results) == {"adapt": 60.0}
    assert lines(results, HEAD + FIRST, 100)[0].endswith("1:40 so far, at least 6:00 left")


def test_groups_of_speakers_tell_of_each_other(results: Path) -> None:
    """One of two groups took 60 s, and nothing runs: 60 s are left."""
    rows = "adapt_group1        1\nadapt_group2        1"
    text = HEAD.replace("adapt               6", rows).replace("9", "5")
    both = FIRST + SECOND.replace("Job 8: Adapting saml to y, seed 1\n", "")
    text += both.replace("Rule: adapt)", "Rule: adapt_group1)")
    assert lines(results, text, 370)[0].endswith("6:10 so far, about 1:00 left")
    # A benchmark of an earlier run is that of any group.
    put(results / "benchmarks/adapt/group2/saml/seed1.tsv", "s\th:m:s\n80.0\t0\n", START - 9)
    put(results / "benchmarks/train_base.tsv", "s\th:m:s\n40.0\t0\n", START - 9)
    until_then = text[: text.index("[Tue Dec  1 12:05:10 2026]")]
    assert lines(results, until_then, 100)[0].endswith("1:40 so far, about 3:20 left")


def test_a_job_that_failed_does_not_run_any_more(results: Path) -> None:
    text = HEAD + FIRST + "[Tue Dec  1 12:00:40 2026]\nError in rule train_base:\n    jobid: 3\n"
    (results / "snakemake.log").write_text(text, encoding="utf-8")
    assert read_run(results / "snakemake.log").running == {}


def test_without_a_log_of_snakemake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SamlError, match="run this in the folder in which Snakemake runs"):
        progress(tmp_path)
    for name in ("2026-12-01T1.snakemake.log", "2026-11-30T9.snakemake.log"):
        put(tmp_path / ".snakemake/log" / name, HEAD, START)
    assert newest_log().name.startswith("2026-12-01")
