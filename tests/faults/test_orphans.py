"""The jobs of a killed Snakemake end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.workflow_project import ROOT, make_project

# Starts as every command of saml, then runs for a long time.
BUSY = f"""#!{sys.executable}
import os, pathlib, time
from saml.runtime.watchdog import die_with_parent
die_with_parent()
pathlib.Path("pid.new").write_text(str(os.getpid()))
os.rename("pid.new", "pid")
while True:
    pathlib.Path("written").write_text(str(time.time()))
    time.sleep(0.01)
"""


pytestmark = pytest.mark.timeout(180)  # for all that is waited for


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for_end(pid: int) -> None:
    while is_running(pid):
        time.sleep(0.02)


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_job_ends_with_a_snakemake_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL, which Snakemake cannot handle, to it alone; the job is the first of the workflow."""
    project = make_project(tmp_path)
    (tmp_path / "bin/saml").write_text(BUSY)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--cores",
        "1",
        "all",
    ]
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    snakemake = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(tmp_path / "pid")
    finally:
        snakemake.kill()
        snakemake.wait()
    wait_for_end(int((tmp_path / "pid").read_text()))
    last = (tmp_path / "written").read_bytes()
    time.sleep(0.3)
    assert (tmp_path / "written").read_bytes() == last


@pytest.mark.system
@pytest.mark.parametrize("pidfd", [True, False], ids=["pidfd", "polling"])
def test_shells_in_between_do_not_matter(pidfd: bool, tmp_path: Path) -> None:
    """Of a parent, a shell and a job the parent is killed; the shell is not affected."""
    job = tmp_path / "job.py"
    job.write_text(BUSY if pidfd else BUSY.replace("import os,", "import os; del os.pidfd_open\nimport", 1))
    master = subprocess.Popen(
        ["bash", "-c", f'export SAML_PARENT=$$; bash -c "{sys.executable} {job}; true"; true'],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        wait_for(tmp_path / "pid")
        pid = int((tmp_path / "pid").read_text())
        assert is_running(pid)
    finally:
        master.send_signal(signal.SIGKILL)
        master.wait()
    wait_for_end(pid)


def test_by_hand_nobody_is_watched(tmp_path: Path) -> None:
    """Without the variable a command continues when the shell that started it has ended."""
    code = "import threading; from saml.runtime.watchdog import die_with_parent; die_with_parent(); "
    code += "print(threading.active_count())"
    environment = {name: value for name, value in os.environ.items() if name != "SAML_PARENT"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1\n"


def test_a_job_whose_master_is_gone_already_does_not_start(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "job.py").write_text(BUSY)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SAML_PARENT": str(gone.pid)}
    job = subprocess.run([sys.executable, "job.py"], cwd=tmp_path, env=environment, timeout=20)
    assert job.returncode == -signal.SIGKILL
