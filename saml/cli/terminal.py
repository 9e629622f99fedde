"""Standard output and error of a command: readers that go away, full disks, characters a terminal lacks."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast

# What a shell says of a program that was ended by SIGPIPE, and by SIGINT.
READER_GONE = 128 + 13
STOPPED = 128 + 2


@contextmanager
def watched() -> Iterator[None]:
    """What the block prints is written before it ends; characters that a terminal lacks are escaped.

    Raises SystemExit where a stream cannot be written: in silence where its reader has gone, for
    `saml doctor | head -1` has read enough, else after a line that says why.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error
    with redirect_stdout(_watched(sys.stdout)), redirect_stderr(_watched(sys.stderr)):
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()


class _Stream:
    """A stream that ends the program when it cannot be written, past callers that catch an OSError."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._end(error) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise self._end(error) from None

    def _end(self, error: OSError) -> SystemExit:
        # Python writes what is left when it ends, and would report that this fails.
        with suppress(OSError), open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), self._stream.fileno())
        if isinstance(error, BrokenPipeError):
            return SystemExit(READER_GONE)
        print(f"saml: error: cannot write the output ({error.strerror})", file=sys.stderr)
        return SystemExit(1)


def _watched(stream: TextIO | None) -> TextIO | None:
    """A stream that is watched; None where the program was started without it."""
    return None if stream is None else cast(TextIO, _Stream(stream))
