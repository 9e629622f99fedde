"""Files that are whole or absent: written in one step, read with a clear word where they are damaged."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from saml.runtime.errors import SamlError

# The end of a temporary file's name, so that no file of anybody else's is taken for one.
_UNFINISHED = ".unfinished"


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`: whoever reads it, also after a power cut, finds the old content or the new."""
    with open_atomically(path) as file:
        file.write(data)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path`, which takes its place once the block has ended without an error.

    Content and name are flushed to disk, so that a power cut leaves the old file or the new, never a part.
    After an error the temporary file is removed; what writers of `path` who were killed have left, before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(path)
    handle, temporary = _temporary(path)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # a full disk names no file, and nobody knows the temporary one
        raise
    _flush_folder(path.parent)


def checksum(path: Path) -> str:
    """SHA-256 of a file that may be larger than memory has room for."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json_object(path: Path, advice: str = "") -> dict[str, Any]:
    """The JSON object in a file.

    Raises SamlError, naming the file and ending with `advice`, when it is missing or holds anything else.
    """
    ending = advice and f"; {advice}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SamlError(f"{path}: no such file{ending}") from None
    except (ValueError, RecursionError) as error:
        raise SamlError(f"{path}: not JSON ({error}){ending}") from None
    if not isinstance(content, dict):
        raise SamlError(f"{path}: not a JSON object{ending}")
    return content


def _temporary(path: Path) -> tuple[int, str]:
    """A new file beside `path`, open and locked: the lock says that its writer lives. Its handle and name."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
        # Between the two it may have been taken for left behind; then it has no name any more.
        if not _lock(handle) or os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)


def _remove_left_behind(path: Path) -> None:
    """Remove temporary files for `path` that nobody is writing."""
    for name in os.listdir(path.parent):
        if not (name.startswith(f".{path.name}.") and name.endswith(_UNFINISHED)):
            continue
        # Gone already, or not ours to remove.
        with suppress(OSError), open(path.parent / name, "r+b") as file:
            if _lock(file.fileno()):
                os.unlink(path.parent / name)


def _lock(handle: int) -> bool:
    """Whether this process could lock an open file; some network file systems have no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _flush_folder(folder: Path) -> None:
    """Make a new name in `folder` last. Some systems open no folders, some do not flush them."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
