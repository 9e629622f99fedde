"""A Slurm of one machine, for tests: installed from Debian's packages, run by hand where there is no systemd.

    python -m tests.slurm.cluster install    # apt-get install slurm-wlm munge (needs root)
    python -m tests.slurm.cluster start      # munged, slurmctld, slurmd; ends when the machine takes jobs
    python -m tests.slurm.cluster stop

It has one partition, no accounting (slurmdbd), and no limits on memory. It never touches a Slurm that
somebody else set up: with a foreign /etc/slurm/slurm.conf it refuses to start.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests import debian
from tests.debian import Unavailable, quietly, wait_until

PACKAGES = ["slurm-wlm", "munge"]
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue"]
# Nowhere else: the `srun` that a job calls looks only here.
CONFIGURATION = Path("/etc/slurm/slurm.conf")
STATE = Path("/var/tmp/saml-slurm")
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")
MUNGE_KEY = Path("/etc/munge/munge.key")
MUNGE_PID = Path("/run/munge/munged.pid")
OURS = "# Written by saml's tests/slurm/cluster.py, which also removes it."


def install() -> None:
    """Install Slurm and munge unless they are there. Raises Unavailable where that is not possible."""
    debian.install(PACKAGES, PROGRAMS)


def start() -> None:
    """Start the daemons and wait until the machine takes jobs. Raises Unavailable when it does not."""
    if os.geteuid() != 0:
        raise Unavailable("starting Slurm needs root")
    if CONFIGURATION.exists() and OURS not in CONFIGURATION.read_text():
        raise Unavailable(f"{CONFIGURATION} belongs to another Slurm")
    stop()
    STATE.mkdir(parents=True)
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(configuration())
    try:
        _start_munge()
        for daemon in ("slurmctld", "slurmd"):
            _run([daemon])
        wait_until(lambda: "idle" in _sinfo(), "the machine does not become idle")
    except BaseException:
        for log in sorted(STATE.glob("*.log")):
            print(f"--- {log}\n{log.read_text()[-2000:]}", file=sys.stderr)
        stop()
        raise


def stop() -> None:
    """Stop what `start` started, running jobs first, and remove what it wrote; nothing where nothing runs."""
    if not CONFIGURATION.exists() or OURS not in CONFIGURATION.read_text():
        return
    if (STATE / "slurmctld.pid").exists():
        quietly(["scancel", "--user", "root"])
        deadline = time.monotonic() + 15
        while quietly(["squeue", "--noheader"]).stdout.strip() and time.monotonic() < deadline:
            time.sleep(0.5)
    for path in (STATE / "slurmd.pid", STATE / "slurmctld.pid", STATE / "munged.pid"):
        _end(path)
    CONFIGURATION.unlink()
    shutil.rmtree(STATE, ignore_errors=True)


def configuration() -> str:
    """The text of slurm.conf: this machine with all its processors and nearly all its memory."""
    host = socket.gethostname().partition(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return f"""{OURS}
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPidFile={STATE}/slurmctld.pid
SlurmdPidFile={STATE}/slurmd.pid
SlurmctldLogFile={STATE}/slurmctld.log
SlurmdLogFile={STATE}/slurmd.log
StateSaveLocation={STATE}/state
SlurmdSpoolDir={STATE}/spool
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=300
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory * 9 // 10} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _start_munge() -> None:
    """Start munged, unless one runs already (which is then left running)."""
    if MUNGE_SOCKET.is_socket() and quietly(["munge", "--no-input"]).returncode == 0:
        return
    if not MUNGE_KEY.exists():
        MUNGE_KEY.write_bytes(os.urandom(1024))
        MUNGE_KEY.chmod(0o400)
        shutil.chown(MUNGE_KEY, "munge", "munge")
    MUNGE_SOCKET.parent.mkdir(mode=0o755, exist_ok=True)
    shutil.chown(MUNGE_SOCKET.parent, "munge", "munge")
    _run(["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--force"])
    wait_until(lambda: MUNGE_SOCKET.is_socket(), "munged does not start")
    # Where `stop` finds it: there may be somebody else's, which is none of our business.
    shutil.copy(MUNGE_PID, STATE / "munged.pid")


def _sinfo() -> str:
    return quietly(["sinfo", "--noheader", "--format=%T"]).stdout


def _end(pid_file: Path) -> None:
    """End the process whose id is in `pid_file`, and wait for it."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
            wait_until(lambda: not _alive(pid), "still running")
            return
        except ProcessLookupError:
            return
        except Unavailable:
            continue


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _run(command: list[str]) -> None:
    # Daemons keep what they inherit open: an open pipe would make whoever reads it wait for ever.
    with (STATE / "start.log").open("ab") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    if done.returncode:
        text = (STATE / "start.log").read_text()[-300:]
        raise Unavailable(f"{command[0]} does not start: {text}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.slurm.cluster", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", choices=["install", "start", "stop"])
    try:
        {"install": install, "start": start, "stop": stop}[parser.parse_args().command]()
    except Unavailable as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
