"""What a benchmark says at its end: a table with medians and ratios, notes, the machine; the same as JSON.

Of a contender the median over the rounds is reported, and as its ratio the median of the rounds' own ratios
to the reference.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._machine import describe, machine
from benchmarks._timing import Timing


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
