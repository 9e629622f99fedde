"""Servers for tests, on loopback: `mlflow server`, and PostgreSQL behind it."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import debian
from tests.debian import Unavailable, quietly, wait_until


def free_port() -> int:
    """A free port of loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class MlflowServer:
    """`mlflow server` on one port of loopback, that can be started, killed and started again.

    `modules` is a folder of additional packages, such as a database driver.
    """

    def __init__(self, folder: Path, database: str, *, modules: Path | None = None) -> None:
        self.folder = folder
        self.address = f"http://127.0.0.1:{free_port()}"
        self._database = database
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
        command += ["--port", self.address.rpartition(":")[2], "--backend-store-uri", self._database]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={
                    **os.environ,
                    "PATH": path,
                    "PYTHONPATH": str(self._modules or ""),
                    "DO_NOT_TRACK": "true",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(
            self._answers, f"no answer from the server, see {self.folder / 'server.log'},", seconds=240
        )

    def kill(self) -> None:
        """SIGKILL for it and its children, as in a crash of its machine."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def __enter__(self) -> "MlflowServer":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL of Debian's packages with an empty database; its SQLAlchemy address.

    Raises Unavailable where it cannot run.
    """
    debian.install(["postgresql", "postgresql-client"], ["pg_lsclusters"])
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions or os.geteuid() != 0:
        raise Unavailable("no PostgreSQL programs here, or not root")
    programs = versions[-1].parent
    # Its programs refuse to run as root, and its user cannot read pytest's folders.
    data = Path(f"/var/tmp/saml-postgresql-{os.getpid()}")
    data.mkdir(mode=0o700)
    shutil.chown(data, "postgres", "postgres")
    port = free_port()
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    control = [*user, str(programs / "pg_ctl"), "-D", str(data / "db"), "-l", str(data / "log")]
    try:
        created = quietly(
            [*user, str(programs / "initdb"), "-D", str(data / "db"), "-A", "trust", "-U", "saml"]
        )
        started = quietly([*control, "-w", "-o", options, "start"])
        if created.returncode or started.returncode:
            raise Unavailable(f"PostgreSQL does not start: {created.stdout[-300:]} {started.stdout[-300:]}")
        yield f"postgresql://saml@127.0.0.1:{port}/postgres"
    finally:
        quietly([*control, "-m", "immediate", "stop"])
        shutil.rmtree(data, ignore_errors=True)


def driver(folder: Path) -> Path:
    """A folder with PostgreSQL's driver for Python, used only here.

    Raises Unavailable where it cannot be installed.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--target",
        str(folder),
        "psycopg2-binary==2.9.13",
    ]
    done = quietly(command)
    if done.returncode:
        raise Unavailable(f"pip cannot install psycopg2-binary: {done.stdout.strip()[-300:]}")
    return folder


@contextmanager
def silent() -> Iterator[str]:
    """A server that accepts every connection and never answers; its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
