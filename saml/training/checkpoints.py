"""Checkpoints of a job: whole, atomically written, and only ever used for the very same job."""

import hashlib
import io
import json
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lhotse import MonoCut

from saml import __version__
from saml.runtime.devices import device
from saml.runtime.files import checksum, open_atomically

# Part of a job's identity: a checkpoint of another layout is ignored.
_LAYOUT = 3

FILE_NAME = "checkpoint.pt"

# A file is the checksum of what follows, in hexadecimal digits and a line end, then what torch wrote.
_DIGEST = hashlib.sha256
_HEADER = 2 * _DIGEST().digest_size + 1


class Checkpoints:
    """One checkpoint, replaced again and again, in a job's work folder.

    `identity` is everything that the job's result depends on (settings, checksums of inputs, seed): a
    checkpoint of another identity is ignored. With no folder nothing is saved. How often one is `due`, every
    so many `seconds`, is no part of the identity: no result depends on it.
    """

    def __init__(
        self, folder: Path | None, identity: Mapping[str, Any], *, seconds: float = float("inf")
    ) -> None:
        self._folder = folder
        self._key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._seconds = seconds
        self._last = time.monotonic()

    @property
    def kept(self) -> bool:
        """Whether anything is saved at all."""
        return self._folder is not None

    @property
    def due(self) -> bool:
        """Whether the last checkpoint (or the start) is so long ago that another one should be saved."""
        return self.kept and time.monotonic() - self._last >= self._seconds

    def save(self, state: Mapping[str, Any]) -> bool:
        """Keep `state` (nested dicts, lists, numbers, strings and tensors) in place of what was there.

        A checkpoint that cannot be written, on a full disk say, costs no more than its purpose: it is named,
        the one before stays, and the job goes on. Returns whether it was written.
        """
        if self._folder is None:
            return False
        try:
            with open_atomically(self._path) as file:
                _write({"key": self._key, "state": dict(state)}, file)
        except OSError as error:
            print(f"{self._path}: checkpoint not saved ({error.strerror}); going on", file=sys.stderr)
            return False
        finally:
            self._last = time.monotonic()
        return True

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last by this very job, or None.

        A checkpoint that cannot be read costs the work since the start, not the run: it is named and ignored.
        """
        if self._folder is None or not self._path.exists():
            return None
        try:
            content = _read(self._path)
        except Exception as error:  # torch raises many kinds for a damaged file
            print(f"{self._path}: unreadable checkpoint ignored ({error})", file=sys.stderr)
            return None
        if content["key"] != self._key:
            print(f"{self._path}: checkpoint of other settings, inputs or processor ignored", file=sys.stderr)
            return None
        state: dict[str, Any] = content["state"]
        return state

    def scope(self, name: str) -> "Checkpoints":
        """Checkpoints of a part of the job (a fold, say) in a folder of its own."""
        part = Checkpoints(self._folder / name if self._folder else None, {}, seconds=self._seconds)
        part._key = hashlib.sha256(f"{self._key}/{name}".encode()).hexdigest()
        return part

    def remove(self) -> None:
        """The job is done: take the work folder away."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _path(self) -> Path:
        assert self._folder is not None
        return self._folder / FILE_NAME


class _Hashing:
    """A file to write to that computes a checksum on the way, and remembers why a write failed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = _DIGEST()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _write(content: Mapping[str, Any], file: BinaryIO) -> None:
    file.write(b" " * _HEADER)
    body = _Hashing(file)
    try:
        torch.save(content, cast(BinaryIO, body))
    except RuntimeError:
        if body.error is not None:  # torch makes its own error of it
            raise body.error from None
        raise
    file.seek(0)
    file.write(f"{body.digest.hexdigest()}\n".encode())


def _read(path: Path) -> dict[str, Any]:
    """What is in a checkpoint. Its checksum is compared first: torch does not notice a changed byte."""
    data = path.read_bytes()
    header, body = data[:_HEADER], data[_HEADER:]
    if header != f"{_DIGEST(body).hexdigest()}\n".encode():
        raise ValueError("its checksum is wrong")
    content: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    return content


def is_whole(path: Path) -> bool:
    """Whether the bytes of a checkpoint are those that were written.

    Raises OSError where it cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
        return header == f"{hashlib.file_digest(file, _DIGEST).hexdigest()}\n".encode()


def identity(
    settings: Mapping[str, Any], seed: object, cuts: Iterable[MonoCut], *inputs: Path | None
) -> dict[str, Any]:
    """Everything that the result of a training depends on, by which a checkpoint is matched to its job.

    Features count by their bytes, not only by the manifest that names them; so do all other `inputs`. A
    training that began on one kind of device is not resumed on another.
    """
    archives = sorted({Path(cut.features.storage_path) for cut in cuts})
    files = [path for path in inputs if path is not None] + archives
    return {
        "settings": settings,
        "seed": seed,
        "saml": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device().type == "cuda" else "cpu",
        "layout": _LAYOUT,
        "inputs": [checksum(path) for path in files],
    }
