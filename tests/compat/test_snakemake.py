"""What is done about Snakemake itself, beside its own way: when that has been mended, ours can go."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SNAKEFILE = """
import threading
from saml.compat import snakemake as _snakemake

onstart:
    {call}

rule all:
    input: expand("{{job}}.txt", job=range(6))

rule job:
    output: "{{job}}.txt"
    shell: "sleep 0.2; touch {{output}}"

onsuccess:
    waiting = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    print("waiting:", len(waiting))
"""


def timers(folder: Path, call: str, *flags: str) -> int:
    """How many times Snakemake would choose jobs again, though all are done."""
    (folder / "Snakefile").write_text(SNAKEFILE.format(call=call))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    (said,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("waiting: ")]
    return int(said.removeprefix("waiting: "))


@pytest.mark.parametrize(
    ("call", "flags", "waits"),
    [
        # The first is Snakemake's own way.
        ("pass", (), True),
        ("_snakemake.without_polling(workflow)", (), False),
        ("_snakemake.without_polling(workflow)", ("--max-jobs-per-timespan", "50/1s"), True),
    ],
)
def test_jobs_are_chosen_when_one_ends_unless_a_limit_was_asked_for(
    tmp_path: Path, call: str, flags: tuple[str, ...], waits: bool
) -> None:
    assert (timers(tmp_path, call, *flags) > 0) is waits


SHARED = """
from saml.compat import snakemake as _snakemake
{call}

rule all:
    input: expand("{{kind}}/{{job}}.txt", kind=["sum", "list"], job=list("abc"))

rule two:
    output: "{{job}}.one", "{{job}}.two"
    shell: "touch {{output}}"

rule sum:
    input: "{{job}}.one", "{{job}}.two", "given.txt"
    output: "sum/{{job}}.txt"
    shell: "touch {{output}}"

rule list:
    input: expand("{{job}}.{{part}}", job=list("abc"), part=["one", "two"]), "sum/{{job}}.txt"
    output: "list/{{job}}.txt"
    shell: "touch {{output}}"
"""
IN_A_FOLDER = """
from saml.compat import snakemake as _snakemake
{call}

rule all:
    input: "folder", "folder/within/file.txt"

rule folder:
    output: directory("folder")
    shell: "mkdir {{output}}"

rule file:
    output: "folder/within/file.txt"
    shell: "touch {{output}}"
"""
IN_A_CIRCLE = """
from saml.compat import snakemake as _snakemake
{call}

rule all:
    input: "a.txt", "b.txt"

rule a:
    input: "b.txt"
    output: "a.txt", "c.txt"
    shell: "touch {{output}}"

rule b:
    input: "c.txt"
    output: "b.txt"
    shell: "touch {{output}}"
"""
WAYS = pytest.mark.parametrize("call", ["pass", "_snakemake.with_short_planning()"], ids=["its own", "short"])


COUNTING = """
from collections import Counter
from snakemake.dag import DAG

calls = Counter()

def counting(name, method):
    async def counted(*given, **named):
        calls[name] += 1
        return await method(*given, **named)
    return counted

DAG.update = counting("jobs", DAG.update)
DAG.file2jobs = counting("files", DAG.file2jobs)
"""
SAYING = """
onstart:
    print("looked at:", calls["jobs"], calls["files"])
"""


def planned(folder: Path, snakefile: str, call: str, *flags: str) -> tuple[int, str]:
    """The exit status of a run and what it says."""
    (folder / "Snakefile").write_text(snakefile.format(call=call))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@WAYS
def test_short_planning_plans_the_same(tmp_path: Path, call: str) -> None:
    """Jobs that share inputs and outputs: when nothing is there, a part of it, everything."""
    (tmp_path / "given.txt").touch()

    def jobs() -> dict[str, int]:
        status, text = planned(tmp_path, SHARED, call, "--dry-run")
        assert status == 0, text
        return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}

    assert jobs() == {"all": 1, "two": 3, "sum": 3, "list": 3, "total": 10}
    assert planned(tmp_path, SHARED, call)[0] == 0
    assert jobs() == {}
    for name in ("b.two", "list/b.txt"):
        (tmp_path / name).unlink()
    assert jobs() == {"all": 1, "two": 1, "sum": 1, "list": 3, "total": 6}
    assert planned(tmp_path, SHARED, call)[0] == 0
    (tmp_path / "given.txt").unlink()
    (tmp_path / "sum/a.txt").unlink()
    status, text = planned(tmp_path, SHARED, call, "--dry-run")
    assert status == 1 and "Missing input files for rule sum" in text and "given.txt" in text


@WAYS
def test_short_planning_refuses_a_file_in_a_folder_of_another_job(tmp_path: Path, call: str) -> None:
    status, text = planned(tmp_path, IN_A_FOLDER, call, "--dry-run")
    assert status == 1 and "ChildIOException" in text and "folder/within/file.txt" in text, text


@WAYS
def test_short_planning_refuses_jobs_that_need_each_other(tmp_path: Path, call: str) -> None:
    status, text = planned(tmp_path, IN_A_CIRCLE, call, "--dry-run")
    assert status == 1 and "Cyclic" in text, text


def test_short_planning_looks_at_each_job_and_each_file_once(tmp_path: Path) -> None:
    """Ten jobs read 33 files that jobs make, 12 different ones, and one that nobody makes."""
    (tmp_path / "given.txt").touch()
    looked = []
    for call in ("pass", "_snakemake.with_short_planning()"):
        status, text = planned(tmp_path, COUNTING + SHARED + SAYING, call, "--forceall")
        assert status == 0, text
        (counts,) = re.findall(r"^looked at: (\d+) (\d+)$", text, re.MULTILINE)
        looked.append(tuple(map(int, counts)))
    assert looked == [(33 + 1, 33 + 1), (9 + 1, 12 + 1)]  # and the target, a job
