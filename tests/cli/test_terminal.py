"""What is printed meets readers that go away, full disks, terminals without accents, and Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from saml import __version__

ROOT = Path(__file__).parents[2]
SAML = [sys.executable, "-m", "saml.cli.main"]
FULL = Path("/dev/full")


def saml(
    *arguments: str, stdout: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    variables = {**os.environ, **environment}
    command = [*SAML, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=variables, stdout=stdout, stderr=subprocess.PIPE, check=False
    )


def pipe_without_reader() -> int:
    """The writing end of a pipe that nobody reads: like `| head -1` that is done."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


# Help is longer than a buffer, the version shorter; the doctor writes line by line.
@pytest.mark.parametrize("arguments", [["--help"], ["adapt", "--help"], ["--version"], ["doctor"]])
def test_a_reader_that_has_gone(arguments: list[str]) -> None:
    writing = pipe_without_reader()
    done = saml(*arguments, stdout=writing)
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE


def test_a_reader_that_has_gone_from_both_streams() -> None:
    writing = pipe_without_reader()
    command = [*SAML, "adapt", "--no-such-flag"]  # says so on standard error
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=writing, check=False)
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["doctor"]])
def test_a_full_disk_behind_standard_output(arguments: list[str]) -> None:
    with FULL.open("wb") as file:
        done = saml(*arguments, stdout=file.fileno())
    assert done.stderr.decode() == "saml: error: cannot write the output (No space left on device)\n"
    assert done.returncode == 1


def test_no_standard_output_at_all() -> None:
    """As started by some daemons, and by `>&-`: argparse takes standard error then."""
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m saml.cli.main --version >&-"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, f"saml {__version__}\n".encode())


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_terminals_without_accents(tmp_path: Path, environment: dict[str, str]) -> None:
    """A name comes out escaped, instead of ending the command."""
    config = tmp_path / "mine.yaml"
    config.write_text("naïve: 1\n", encoding="utf-8")
    done = saml("doctor", "--configfile", str(config), **environment)
    assert done.stderr == b""
    assert done.returncode == 1
    assert rb"config: na\xefve: unknown key" in done.stdout


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """Started processes heed SIGINT, even where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_is_one_line(tmp_path: Path) -> None:
    """While the command waits for a configuration that comes through a pipe."""
    pipe = tmp_path / "mine.yaml"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*SAML, "doctor", "--configfile", str(pipe)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    error = b""
    with pipe.open("w"):  # returns when the command has opened the other end
        for _ in range(3):  # a signal between two system calls is noticed with the next one
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                _, error = process.communicate(timeout=20)
                break
    assert error.decode() == "saml: stopped by Ctrl-C\n"
    assert process.returncode == 128 + signal.SIGINT
