"""The tiny experiment in a folder of its own, for tests that disturb it, and what it is made of."""

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
# One target speaker: these tests run it again and again.
CONFIGURATION = ("tests/configurations/tiny.yaml", "tests/configurations/one_speaker.yaml")
# What a run is made of. Records, logs and benchmarks hold times, pictures a date: they may differ.
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
        """A new one, in which nothing has run."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("Snakefile", "workflow", "config", "slurm", "environment.yaml"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        shutil.copytree(ROOT / "tests/configurations", folder / "tests/configurations")
        (folder / "profiles").symlink_to("workflow/profiles")
        return cls(folder)

    def copy(self, folder: Path) -> "Experiment":
        """The same at another place, times of files included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Experiment(folder)

    def start(
        self, *arguments: str, configs: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        """`snakemake` with these arguments, in a session of its own; everything it prints goes to `log`."""
        command = [sys.executable, "-m", "snakemake", *arguments]
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
        """Run to the end, which must be a good one; returns what was printed."""
        status = self.start(*arguments, configs=configs, **environment).wait()
        assert status == 0, self.printed()
        return self.printed()

    def printed(self) -> str:
        """What the last snakemake printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> Path:
        return self.folder / "printed.txt"

    def outcome(self) -> dict[str, str]:
        """File to checksum, of all that a run is made of: equal outcomes are equal byte for byte."""
        return outcome(self.results)

    def processes(self) -> dict[int, str]:
        """The processes that work in this folder (id to command line), this one apart."""
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
        """The processes of `saml` stages at work in this folder."""
        return [
            pid for pid, line in self.processes().items() if "/saml " in f"{line} " and "--record" in line
        ]

    def wait_until_idle(self, seconds: float = 20.0) -> dict[int, str]:
        """Wait until no process works here any more; those that do in spite of that."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


def outcome(results: Path) -> dict[str, str]:
    """File to checksum, of all that the experiment in the folder `results` is made of."""
    files = (path for name in KEPT for path in (results / name).rglob("*") if path.is_file())
    return {
        path.relative_to(results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in RECORDS
    }


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The files that two outcomes do not have alike, sorted: other bytes, or in one of them only."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def kill(pid: int) -> bool:
    """SIGKILL one process; whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
