"""Time and memory of contenders that take turns.

A claim is a ratio of two things that were timed side by side: contenders take turns, round after round, so
that a machine that slows down slows all of them down.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saml.runtime.memory import release


@dataclass
class Timing:
    """One contender's rounds.

    Attributes:
        wall: seconds of each round.
        processor: processor seconds of each round, of all threads and child processes together.
        took_mb: the most memory that it took beyond what the process had before (every contender's weights,
            if they are loaded), in 10^6 bytes; `took_gpu_mb` likewise of a GPU.
    """

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    took_mb: float = 0.0
    took_gpu_mb: float | None = None


def interleave(
    contenders: Mapping[str, Callable[[], Any]], *, repeats: int, warm_up: int = 1
) -> dict[str, Timing]:
    """Time every contender `repeats` times, taking turns; `warm_up` rounds before are not counted.

    The order is turned round in every other round, so that nobody is always the one after another. One that
    works in a process of its own returns that one's peak memory, in 10^6 bytes, as a float.
    """
    timings = {name: Timing() for name in contenders}
    for index in range(warm_up + repeats):
        names = list(contenders) if index % 2 == 0 else list(contenders)[::-1]
        for name in names:
            wall, processor = _timed(contenders[name], timings[name])
            print(
                f"round {index + 1} of {warm_up + repeats}: {name}, {wall:.3g} s", file=sys.stderr, flush=True
            )
            if index >= warm_up:
                timings[name].wall.append(wall)
                timings[name].processor.append(processor)
    return timings


def _timed(contender: Callable[[], Any], timing: Timing) -> tuple[float, float]:
    gpu = _gpu()
    _release()
    before, before_gpu = _resident_mb(), 0.0
    if gpu is not None:
        gpu.synchronize()
        gpu.reset_peak_memory_stats()
        before_gpu = gpu.memory_allocated() / 1e6
    wall, processor = time.perf_counter(), _processor_seconds()
    result = contender()
    if gpu is not None:
        gpu.synchronize()
        timing.took_gpu_mb = max(timing.took_gpu_mb or 0.0, gpu.max_memory_allocated() / 1e6 - before_gpu)
    spent = time.perf_counter() - wall, _processor_seconds() - processor
    own = result if isinstance(result, float) else peak_mb() - before
    timing.took_mb = max(timing.took_mb, own)
    return spent


def _gpu() -> Any:
    """torch.cuda where torch is loaded and has a GPU, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _release() -> None:
    """Give free memory back to the system and start counting its peak anew, as far as the system can."""
    release()
    with suppress(OSError):  # a kernel without it counts from the start of the process
        Path("/proc/self/clear_refs").write_text("5")


def run_apart(command: Sequence[str]) -> tuple[str, float]:
    """Run a command; what it prints on standard output, and its process's peak memory in 10^6 bytes."""
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as child:
            assert child.stdout is not None
            printed = child.stdout.read()
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{said.read()}")
    return printed, used.ru_maxrss * 1024 / 1e6


def _status_mb(key: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def _resident_mb() -> float:
    return _status_mb("VmRSS") or 0.0


def peak_mb() -> float:
    """The most memory that this process had since the last release, in 10^6 bytes."""
    return _status_mb("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
