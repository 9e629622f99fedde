"""The tiny experiment in a folder of its own, for tests that interrupt it, and its results."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "tiny"
# One target speaker, because these tests run it many times.
CONFIGURATION = ("tests/configurations/tiny.yaml", "tests/configurations/one_speaker.yaml")
# The results of a run. Records, logs and benchmarks contain times, figures a date, and may differ.
KEPT = ("data", "models", "pretrained", "speakers", "heldout", "enrolment", "tuning", "pruned", "embeddings")
KEPT += ("tables", "transcripts")
RECORDS = ("run.jsonl", "adaptation.jsonl", "tables.jsonl")


class Experiment:
    """A copy of the workflow and of its tiny configuration, and the command that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results" / NAME

    @classmethod
    def make(cls, folder: Path) -> "Experiment":
        """A new experiment without results."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("Snakefile", "workflow", "config", "slurm", "environment.yaml"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        shutil.copytree(ROOT / "tests/configurations", folder / "tests/configurations")
        (folder / "profiles").symlink_to("workflow/profiles")
        return cls(folder)

    def copy(self, folder: Path) -> "Experiment":
        """A copy in another folder, modification times included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Experiment(folder)

    def start(
        self, *arguments: str, configs: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        """`snakemake` with these arguments, in a session of its own; everything it prints goes to `log`."""
        # Snakemake ends so long after its last job (profiles/default).
        command = [sys.executable, "-m", "snakemake", *arguments, "--max-jobs-per-timespan", "100/1s"]
        command += ["--configfile", *CONFIGURATION, *configs]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {"PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **variables, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str, configs: tuple[str, ...] = (), **environment: str) -> str:
        """Run to successful completion; returns the output."""
        status = self.start(*arguments, configs=configs, **environment).wait()
        assert status == 0, self.printed()
        return self.printed()

    def printed(self) -> str:
        """The output of the last snakemake."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> Path:
        return self.folder / "printed.txt"

    def outcome(self) -> dict[str, str]:
        """File to checksum of all results: equal outcomes are equal byte for byte."""
        return outcome(self.results)

    def processes(self) -> dict[int, str]:
        """The other processes whose working directory is this folder (id to command line)."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            try:
                here = (entry / "cwd").resolve() == self.folder.resolve()
                alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                if here and alive:
                    text = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = text.decode(errors="replace").strip()
            except OSError:
                continue
        return found

    def jobs(self) -> list[int]:
        """The processes of `saml` stages in this folder."""
        return [
            pid for pid, line in self.processes().items() if "/saml " in f"{line} " and "--record" in line
        ]

    def wait_until_idle(self, seconds: float = 20.0) -> dict[int, str]:
        """Wait until no process is left in this folder; returns those that remain after the time limit."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


def outcome(results: Path) -> dict[str, str]:
    """File to checksum of all results of the experiment in the folder `results`."""
    files = (path for name in KEPT for path in (results / name).rglob("*") if path.is_file())
    return {
        path.relative_to(results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in RECORDS
    }


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The files that differ between two outcomes or exist in one only, sorted."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def kill(pid: int) -> bool:
    """SIGKILL one process; returns whether it existed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
