"""Checkpoints of a job: whole, atomically written, and only ever used for the very same job."""

import hashlib
import io
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from saml.files import write_atomically


class Checkpoints:
    """One checkpoint, replaced again and again, in a job's work folder.

    `identity` is everything that the job's result depends on (settings, checksums of inputs, seed): a
    checkpoint of another identity is ignored. With no folder nothing is saved.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        self._key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep `state` (nested dicts, lists, numbers, strings and tensors) in place of what was there."""
        if self._folder is None:
            return
        buffer = io.BytesIO()
        torch.save({"key": self._key, "state": dict(state)}, buffer)
        write_atomically(self._path, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last by this very job, or None.

        A checkpoint that cannot be read costs the work since the start, not the run: it is named and ignored.
        """
        if self._folder is None or not self._path.exists():
            return None
        try:
            content = torch.load(self._path, weights_only=True, map_location="cpu")
        except Exception as error:  # torch raises many kinds for a damaged file
            print(f"{self._path}: unreadable checkpoint ignored ({error})", file=sys.stderr)
            return None
        if content["key"] != self._key:
            print(f"{self._path}: checkpoint of other settings or inputs ignored", file=sys.stderr)
            return None
        state: dict[str, Any] = content["state"]
        return state

    def scope(self, name: str) -> "Checkpoints":
        """Checkpoints of a part of the job (a fold, say) in a folder of its own."""
        part = Checkpoints(self._folder / name if self._folder else None, {})
        part._key = hashlib.sha256(f"{self._key}/{name}".encode()).hexdigest()
        return part

    def remove(self) -> None:
        """The job is done: take the work folder away."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _path(self) -> Path:
        assert self._folder is not None
        return self._folder / "checkpoint.pt"
