"""The workflow on a real Slurm, of one machine."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.experiment import Experiment
from tests.slurm import cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]

# What is special about this cluster: nobody keeps accounts, files appear at once, jobs take seconds.
HERE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
HERE += ["--latency-wait", "5", "--slurm-no-account"]


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A running cluster; without one the tests are left out, saying why."""
    try:
        cluster.install()
        cluster.start()
    except cluster.Unavailable as error:
        pytest.skip(f"no Slurm here: {error}")
    yield
    cluster.stop()


def test_the_profile_gives_the_tables_of_a_local_run(slurm: None, tmp_path: Path) -> None:
    local = Experiment.make(tmp_path / "local")
    local.run("all", "--cores", "2")
    experiment = Experiment.make(tmp_path / "project")
    printed = experiment.run("--profile", "slurm", "all", *HERE)
    assert "has been submitted with SLURM jobid" in printed and "(100%) done" in printed
    assert experiment.outcome() == local.outcome()
    assert "Nothing to be done" in experiment.run("--profile", "slurm", "all", *HERE)


GROUPS = ["--groups", "adapt=adapt", "decode=decode", "--group-components", "adapt=2", "decode=3"]


def test_jobs_of_several_speakers_share_a_slurm_job(slurm: None, tmp_path: Path) -> None:
    """Snakemake's own grouping: two speakers and three arms, fewer submissions, and the same files."""
    two = ("tests/configurations/tiny.yaml", "grouped.yaml")
    local, grouped = (Experiment.make(tmp_path / name) for name in ("local", "grouped"))
    for experiment in (local, grouped):
        (experiment.folder / "grouped.yaml").write_text("run_arms: [nf4, nf4-lora, saml]\n")
    local.run("all", "--cores", "2", configs=two)
    printed = grouped.run("--profile", "slurm", "all", *HERE, "--cores", "2", *GROUPS, configs=two)
    submitted = re.findall(r"Job (\S+) has been submitted with SLURM jobid", printed)
    # Four adaptations, two in a job; six decodings, three in a job; the others have a job each.
    assert sum("-" in name for name in submitted) == 2 + 2, submitted
    assert grouped.outcome() == local.outcome()


def _holds(log: Path, word: str) -> bool:
    return log.exists() and word in log.read_text()


def _state(job: str) -> str:
    return subprocess.run(["squeue", "-h", "-o", "%T", "-j", job], capture_output=True, text=True).stdout


def test_a_job_that_is_requeued_goes_on_from_its_checkpoint(slurm: None, tmp_path: Path) -> None:
    """Slurm ends the job as in a preemption (SIGTERM first) and starts it again; Snakemake waits for it."""
    experiment = Experiment.make(tmp_path / "project")
    (experiment.folder / "longer.yaml").write_text("base_training: {epochs: 150}\n")
    longer = ("longer.yaml",)
    experiment.run("results/tiny/data/pools/base/cuts.jsonl.gz", "--cores", "2", configs=longer)
    alone = experiment.copy(tmp_path / "alone")
    target = "results/tiny/models/base/model.safetensors"
    log = experiment.results / "logs/train_base.log"
    process = experiment.start("--profile", "slurm", target, *HERE, configs=longer)

    def under_way_or_over() -> bool:
        return _holds(log, "loss") or process.poll() is not None

    try:
        cluster.wait_until(under_way_or_over, "training does not start", seconds=600)
        assert process.poll() is None, f"over before it said how far it was\n{experiment.printed()}"
        job = subprocess.run(["squeue", "-h", "-o", "%A"], capture_output=True, text=True).stdout.split()[0]
        subprocess.run(["scontrol", "requeue", job], check=True)
        cluster.wait_until(lambda: "PENDING" in _state(job), "the job does not end", seconds=120)
        # Of itself it begins two minutes later.
        subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)
        assert process.wait(timeout=900) == 0, experiment.printed()
    finally:
        process.kill()
    assert _holds(log, "done before)")
    alone.run(target, "--cores", "2", configs=longer)
    assert (experiment.folder / target).read_bytes() == (alone.folder / target).read_bytes()
