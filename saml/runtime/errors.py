"""The one exception that a user is meant to read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SamlError(Exception):
    """Something the user can put right: the message names the file, key or utterance, and what to do.

    The command line prints the message as a single line and exits with `status`; anything else that is
    raised is a defect of the program and keeps its traceback.
    """

    status = 1


class Diverged(SamlError):
    """A training whose losses or weights are no longer finite numbers."""


class Interrupted(SamlError):
    """A job that was asked to stop, and did in good order: started again, it goes on."""

    status = 143  # what a shell gives for SIGTERM


@contextmanager
def about(path: Path, *others: Path) -> Iterator[None]:
    """What a SamlError inside says is about the file `path`, which it begins with then.

    One that names it, or one of `others`, stays as it is.
    """
    try:
        yield
    except SamlError as error:
        if any(str(one) in str(error) for one in (path, *others)):
            raise
        raise type(error)(f"{path}: {error}") from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short, of the machine, a limit or a GPU: each library says it in its way."""
    words = ("out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def in_one_line(error: Exception) -> str | None:
    """What a user is told of an error that can be put right; None for a defect, which keeps its traceback."""
    if isinstance(error, SamlError):
        return str(error)
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        return "out of memory: give the job more, or lower batch_utterances or batch_seconds of its section"
    if isinstance(error, OSError) and not (error.filename is None and error.strerror is None):
        return f"{error.filename or 'file'}: {error.strerror}"
    return None
