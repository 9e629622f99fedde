"""Being asked to stop: by Slurm before it kills a job, by Ctrl-C, by `kill`."""

import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """While the block runs, a first SIGTERM or SIGINT is only noted, for whoever can stop in good order.

    A second one acts as ever. Outside the main thread, which alone can take signals, nothing is noted, nor
    where it is not `wanted`.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self.signal: signal.Signals | None = None
        self._wanted = wanted and threading.current_thread() is threading.main_thread()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        if self._wanted:
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}
