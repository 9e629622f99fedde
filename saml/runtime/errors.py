"""Errors that are reported to the user in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SamlError(Exception):
    """An error that the user can correct: the message names the file, key or utterance, and the remedy.

    The command line prints the message as a single line and exits with `status`. Any other exception is a
    defect of the program and keeps its traceback.
    """

    status = 1


class Diverged(SamlError):
    """Training whose losses or weights are no longer finite."""


class Interrupted(SamlError):
    """A job that was stopped by a signal after saving its state; it continues when started again.

    `status` is what a shell says of a program that the signal ended, by default that of SIGTERM.
    """

    def __init__(self, message: str, status: int = 143) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def about(path: Path, *others: Path) -> Iterator[None]:
    """Prefix the message of a SamlError in this block with the file `path`.

    A message that names `path` or one of `others` already is not changed.
    """
    try:
        yield
    except SamlError as error:
        if any(str(one) in str(error) for one in (path, *others)):
            raise
        raise type(error)(f"{path}: {error}") from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out (RAM, a limit, a GPU); each library has its own wording."""
    words = ("out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def in_one_line(error: Exception, *, more_memory: str = "use a machine with more") -> str | None:
    """The message for the user; None for a defect of the program, which keeps its traceback.

    `more_memory` is what to do, with the command at hand, where memory ran out.
    """
    if isinstance(error, SamlError):
        return str(error)
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        return f"out of memory: {more_memory}"
    if isinstance(error, FileExistsError):
        return f"{error.filename or 'file'}: this file is in the place of a folder"
    if isinstance(error, OSError) and not (error.filename is None and error.strerror is None):
        return f"{error.filename or 'file'}: {error.strerror}"
    return None
