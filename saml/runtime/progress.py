"""Progress lines for logs: task, finished units, remaining time.

Stages run under Snakemake with their standard error in a file, where a redrawn bar is unreadable. So progress
is printed as plain lines, at most one every few seconds.
"""

import sys
import time
from types import TracebackType


class Progress:
    """Counts finished units of `total`; prints a line every `every` seconds and at the end.

    A context manager. `update(done, note)` takes the total number of finished units; a resumed job passes
    those finished before as `start`, and the estimate uses only the units of this process.
    """

    def __init__(self, what: str, total: int, *, start: int = 0, every: float = 5.0) -> None:
        self.what = what
        self.total = total
        self.done = start
        self._start = start
        self._every = every
        self._began = time.monotonic()
        self._last = self._began

    def __enter__(self) -> "Progress":
        self._print(
            f"{self.what}: {self.total - self.done} to do"
            + (f" ({self.done} done before)" if self.done else "")
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._began
        state = "done" if kind is None else "stopped"
        self._print(f"{self.what}: {state}, {self.done}/{self.total} in {clock(seconds)}")

    def update(self, done: int, note: str = "") -> None:
        """Record that `done` units of the total are finished; `note` is appended (a loss, a file)."""
        self.done = done
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        finished = done - self._start
        left = (now - self._began) / finished * (self.total - done) if finished > 0 else float("nan")
        self._print(f"{self.what}: {done}/{self.total}{', ' + note if note else ''}, {clock(left)} left")

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as `h:mm:ss` or `m:ss`; `?` when unknown."""
    if seconds != seconds:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
