"""Python's search for garbage, kept out of where there is none to find.

Importing makes hundreds of thousands of objects that all stay, and Python searches them for garbage again and
again: a sixth of the time that the imports take. When a process ends it does so once more, though all goes.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def none_expected() -> Iterator[None]:
    """Do not search meanwhile; for imports."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def none_while_planning() -> None:
    """Do not search until `planned`: a graph of jobs is hundreds of thousands of objects that all stay."""
    gc.disable()


def planned() -> None:
    """Search again, but never in what has been made so far."""
    gc.freeze()
    gc.enable()


def none_at_exit() -> None:
    """Let this process end without a last search: what it still has goes with it."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
