"""Atomic writing of files, checksums, and reading of JSON with clear errors."""

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

# Suffix of temporary files, so that no other file is mistaken for one.
_UNFINISHED = ".unfinished"


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`: a reader finds the old content or the new, also after a power failure."""
    with open_atomically(path) as file:
        file.write(data)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path` that replaces it when the block ends without an error.

    Content and name are flushed to disk, so that a power failure leaves the old file or the new one. The
    temporary file is removed after an error; those of killed writers of `path` are removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
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
            error.filename = str(path)  # the error of a full disk names no file or the temporary one
        raise
    _flush_folder(path.parent)


def checksum(path: Path) -> str:
    """SHA-256 of a file, which need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json_object(path: Path, advice: str = "") -> dict[str, Any]:
    """The JSON object in a file.

    Raises SamlError, naming the file and ending with `advice`, when it is missing or has other content.
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
    """A new file beside `path`: its handle and name. It is locked while its writer is alive."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
        # Before it was locked, another writer may have removed it as an orphan; then it has no link any more.
        if not _lock(handle) or os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)


def _remove_orphans(path: Path) -> None:
    """Remove temporary files for `path` whose writer is dead."""
    for name in os.listdir(path.parent):
        if not (name.startswith(f".{path.name}.") and name.endswith(_UNFINISHED)):
            continue
        # Removed by another process, or without permission.
        with suppress(OSError), open(path.parent / name, "r+b") as file:
            if _lock(file.fileno()):
                os.unlink(path.parent / name)


def _lock(handle: int) -> bool:
    """Try to lock an open file; False if it is locked, or on a file system without locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _flush_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk, where the file system supports it."""
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
