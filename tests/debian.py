"""What tests of daemons share: Debian's packages, programs run quietly, and waiting."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence


class Unavailable(Exception):
    """What a test needs cannot be had on this machine; the message says why."""


def install(packages: Sequence[str], programs: Sequence[str]) -> None:
    """Install Debian's `packages` unless all `programs` are there. Raises Unavailable where that fails."""
    if all(map(shutil.which, programs)):
        return
    names = " ".join(packages)
    if os.geteuid() != 0:
        raise Unavailable(f"installing {names} needs root")
    if shutil.which("apt-get") is None:
        raise Unavailable(f"no apt-get here: install {names} by hand")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    done = quietly(command, environment)
    if done.returncode:  # perhaps the list of packages is missing or old
        quietly(["apt-get", "update", "-qq"], environment)
        done = quietly(command, environment)
    if done.returncode:
        raise Unavailable(f"apt-get cannot install {names}: {done.stdout.strip()[-300:]}")


def quietly(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; what it prints is in `stdout`."""
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition: Callable[[], bool], failure: str, *, seconds: float = 30.0) -> None:
    """Wait for a condition. Raises Unavailable, with `failure`, when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable(f"{failure} in {seconds:.0f} s")
        time.sleep(0.2)
