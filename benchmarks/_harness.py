"""What every benchmark shares: flags, interleaved timing, medians, peak memory, one JSON and a table.

A claim is a ratio of two things that were timed side by side: contenders take turns, round after round, so
that a machine that slows down slows all of them down. Of each the median over the rounds is reported, and as
its ratio the median of the rounds' own ratios to the reference.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from saml.runtime.memory import release

LIBRARIES = ("torch", "transformers", "bitsandbytes", "peft", "accelerate", "lhotse", "numpy", "safetensors")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds, of which medians are taken")
    parser.add_argument("--threads", type=int, default=1, help="threads of a process (1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (cpu)")
    parser.add_argument("--seed", type=int, default=1, help="of weights, lengths and speech (1)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the measurements there too")
    return parser


def of_one_adaptation(parser: argparse.ArgumentParser, *, speakers: int, experts: int) -> None:
    """Add the flags of benchmarks that look into one adaptation of several speakers in the same batches."""
    parser.set_defaults(repeats=3, epochs=1, bfloat16=False)
    parser.add_argument("--size", default="mini", help="toy, mini (default), tiny.en or base.en")
    parser.add_argument("--like", default="librispeech", help="lengths of librispeech or ted (librispeech)")
    parser.add_argument("--speakers", type=int, default=speakers, help=f"in the same batches ({speakers})")
    parser.add_argument("--utterances", type=int, default=4, help="of each speaker (4)")
    parser.add_argument("--batch", type=int, default=4, help="utterances of a speaker in a step (4)")
    parser.add_argument("--experts", type=int, default=experts, help=f"of SAML ({experts})")
    parser.add_argument("--tail-seconds", type=float, default=1.0, help="of silence (1)")


def prepare(options: argparse.Namespace) -> None:
    """Set threads and device. Before torch is imported: it looks at these variables once."""
    thread_variables(options.threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if options.device == "cpu":  # so that saml's own choice of a device is the one asked for
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def thread_variables(threads: int) -> None:
    """Let numerical libraries use so many threads. Before they are imported."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)


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


@dataclass
class Row:
    """A line of a table: one contender in one group, and how its time compares with the reference's.

    `ratio` is the reference's time divided by this one's: 2 is twice as fast. `more` holds what else was
    measured: error rates, bytes.
    """

    group: str
    name: str
    seconds: float
    processor_seconds: float | None = None
    ratio: float | None = None
    processor_ratio: float | None = None
    took_mb: float | None = None
    took_gpu_mb: float | None = None
    rounds: list[float] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


class Report:
    """Collects rows and ends a benchmark: prints a table, writes the JSON."""

    def __init__(self, name: str, question: str, options: argparse.Namespace) -> None:
        self.name, self.question = name, question
        self._json: Path | None = options.json
        self._settings = {key: _plain(value) for key, value in vars(options).items() if key != "json"}
        self._rows: list[Row] = []
        self._notes: list[str] = []
        self._machine = machine(options.threads)
        self._began = time.perf_counter()

    def compare(
        self,
        group: str,
        timings: Mapping[str, Timing],
        *,
        reference: str,
        more: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, Row]:
        """Add a row for each contender, compared with `reference`; returns them by name."""
        base, rows = timings[reference], {}
        for name, timing in timings.items():
            rows[name] = Row(
                group=group,
                name=name,
                seconds=statistics.median(timing.wall),
                processor_seconds=statistics.median(timing.processor),
                ratio=_ratio(base.wall, timing.wall),
                processor_ratio=_ratio(base.processor, timing.processor),
                took_mb=timing.took_mb,
                took_gpu_mb=timing.took_gpu_mb,
                rounds=[round(seconds, 6) for seconds in timing.wall],
                more=dict((more or {}).get(name, {})),
            )
        self.add(*rows.values())
        return rows

    def add(self, *rows: Row) -> None:
        """Add rows as they are."""
        self._rows += rows

    def note(self, text: str) -> None:
        """Add a sentence below the table."""
        self._notes.append(text)

    def finish(self) -> None:
        """Print the table and write the JSON."""
        print(f"\n{self.name}: {self.question}")
        print(table(self._rows))
        for note in self._notes:
            print(note)
        print(describe(self._machine), flush=True)
        if self._json is not None:
            content = {
                "benchmark": self.name,
                "question": self.question,
                "settings": self._settings,
                "machine": self._machine,
                "process_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
                "took_seconds": round(time.perf_counter() - self._began, 1),
                "rows": [asdict(row) for row in self._rows],
                "notes": self._notes,
            }
            self._json.parent.mkdir(parents=True, exist_ok=True)
            self._json.write_text(json.dumps(content, indent=2) + "\n")


def _ratio(reference: Sequence[float], own: Sequence[float]) -> float:
    """The median over rounds of reference / own; nan where nothing was measurable."""
    pairs = [a / b for a, b in zip(reference, own, strict=True) if b > 0]
    return statistics.median(pairs) if pairs else float("nan")


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | list | None) else str(value)


def table(rows: Sequence[Row]) -> str:
    """The rows as text; a column that nobody has anything for is left out."""
    if not rows:
        return "nothing was measured"
    columns: dict[str, Callable[[Row], str]] = {
        "": lambda row: row.name,
        "seconds": lambda row: _number(row.seconds),
        "processor s": lambda row: _number(row.processor_seconds),
        "times as fast": lambda row: _fixed(row.ratio, 2),
        "(processor)": lambda row: _fixed(row.processor_ratio, 2),
        "took MB": lambda row: _fixed(row.took_mb, 0),
        "took GPU MB": lambda row: _fixed(row.took_gpu_mb, 0),
    }
    for key in dict.fromkeys(key for row in rows for key in row.more):
        columns[key] = lambda row, key=key: _number(row.more.get(key, ""))
    cells = [[get(row) for get in columns.values()] for row in rows]
    kept = [i for i in range(len(columns)) if any(line[i] for line in cells)]
    head = [list(columns)[i] for i in kept]
    lines = [[line[i] for i in kept] for line in cells]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    text, group = [_line(head, widths)], None
    for row, line in zip(rows, lines, strict=True):
        if row.group != group:
            group = row.group
            text.append(f"-- {group}")
        text.append(_line(line, widths))
    return "\n".join(text)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def _fixed(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def machine(threads: int) -> dict[str, Any]:
    """What the measurements were made on, how busy it was at the start, and with what."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "gpu": gpu,
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def describe(machine: Mapping[str, Any]) -> str:
    """One line about the machine."""
    device = f", {machine['gpu']}" if machine["gpu"] else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} thread(s){device}, "
        f"load {machine['load']} at the start, torch {machine['versions'].get('torch')}"
    )


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
