"""What the profile asks Slurm for, job by job: a stand-in `sbatch` notes it, and every job fails.

No program of a Slurm is needed: there is a stand-in for each that the executor plugin calls.
"""

import shutil
from pathlib import Path

import pytest

from tests.workflow.workflow_project import ODD_FOLDER, ROOT, SPEAKERS, Project, make_project

STAND_INS = {
    "sbatch": 'printf "%s " "$@" >> submitted; echo >> submitted; wc -l < submitted',
    "squeue": 'for job in $(seq "$(wc -l < submitted)"); do echo "$job|FAILED"; done',
    "scontrol": 'echo "MinJobAge = 300 sec"',
    "scancel": "true",
    "sinfo": "true",
    # The plugin asks one of these for the account, where none is given.
    "sacct": "echo me",
    "sacctmgr": "echo me",
}
HERE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
HERE += ["--seconds-between-status-checks", "1", "--latency-wait", "1"]
# After each failure the plugin waits ten seconds longer before it asks the queue: attempts make tests slow.
ONCE, TWICE = ["--retries", "0"], ["--retries", "1"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with the profile of the repository and stand-ins of Slurm's programs."""
    project = make_project(tmp_path)
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    for name, body in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return project


def submitted(project: Project, targets: list[str], *arguments: str) -> list[str]:
    """The arguments of `sbatch` for each attempt at jobs whose inputs are there."""
    (project.folder / "submitted").unlink(missing_ok=True)
    outcome = project.snakemake("--profile", "slurm", *targets, *HERE, *arguments)
    assert outcome.status != 0, outcome.text
    return (project.folder / "submitted").read_text().splitlines()


@pytest.mark.slow
def test_each_attempt_asks_for_more_memory_and_time_and_only_training_for_a_gpu(project: Project) -> None:
    target = "results/test/data/pools/base/cuts.jsonl.gz"
    assert project.snakemake("--cores", "1", "results/test/data/corpus/dropped.tsv").status == 0
    first, second = submitted(project, [target], *TWICE, "--config", "gpus=1")
    assert " -t 240 --mem 2000 " in first and "--cpus-per-task=1" in first
    assert " -t 480 --mem 4000 " in second
    assert "gpu" not in first.partition("--wrap")[0]
    assert project.snakemake("--cores", "1", target).status == 0
    target = "results/test/models/base/model.safetensors"
    (training,) = submitted(project, [target], *ONCE, "--config", "gpus=1")
    assert "--gpus=1 " in training.partition("--wrap")[0]
    (without,) = submitted(project, [target], *ONCE)
    assert "gpu" not in without.partition("--wrap")[0]


@pytest.mark.slow
def test_account_partition_and_limits_are_settings(project: Project) -> None:
    settings = ["--default-resources", "slurm_account=me", "slurm_partition=fast", "mem_mb=9"]
    target = "results/test/data/corpus/dropped.tsv"
    more = ["--set-resources", "prepare_corpus:runtime=7"]
    call, again = submitted(project, [target], *TWICE, *settings, *more)
    assert " -A me " in call and " -p fast " in call and " -t 7 " in call
    assert " -t 7 " in again and " --mem 4000 " in again


@pytest.mark.slow
@pytest.mark.parametrize(("cores", "minutes", "memory"), [("1", 120, 2000), ("2", 60, 4000)])
def test_several_speakers_in_one_job_are_snakemakes_groups(
    cores: str, minutes: int, memory: int, project: Project
) -> None:
    """One after another they take the time of both, side by side the memory of both."""
    assert project.snakemake("--cores", "1", "results/test/data/corpus/dropped.tsv").status == 0
    targets = [f"results/test/data/speakers/{folder}/cuts.jsonl.gz" for folder in (SPEAKERS[0], ODD_FOLDER)]
    groups = ["--groups", "prepare_speaker=prepare", "--group-components", "prepare=2", "--cores", cores]
    (together,) = submitted(project, targets, *groups, *ONCE)
    assert f" -t {minutes} --mem {memory} " in together
