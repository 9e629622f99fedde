"""Steps that are not done twice: after an interruption the command goes on where it was."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saml import __version__
from saml.config.load import canonical
from saml.runtime.files import checksum, write_atomically
from saml.runtime.memory import release


@dataclass(frozen=True)
class Step:
    """A step, which writes `output` from `files` with `settings`.

    What it was done with is kept beside the output, in a file of its own.
    """

    output: Path
    settings: Mapping[str, Any]
    files: Sequence[Path]
    run: Callable[[], object]

    def is_done(self) -> bool:
        """Whether the output is there, written by this version with these settings and contents."""
        if not self.output.is_file() or not self._done.is_file():
            return False
        return all(path.is_file() for path in self.files) and self._done.read_text() == self._digest()

    def do(self) -> None:
        """Run the step, unless it is done."""
        if self.is_done():
            return
        self._done.unlink(missing_ok=True)
        self.run()
        release()
        write_atomically(self._done, self._digest().encode())

    def remove_outdated(self) -> None:
        """Remove an output that other settings, or other contents of `files`, were used for, and its JSON."""
        if not self.is_done():
            for path in (self._done, self.output, self.output.with_suffix(".json")):
                path.unlink(missing_ok=True)

    @property
    def _done(self) -> Path:
        return self.output.with_name(f".{self.output.name}.done")

    def _digest(self) -> str:
        inputs = {path.name: checksum(path) for path in self.files}
        made_with = {"settings": self.settings, "files": inputs, "version": __version__}
        return hashlib.sha256(canonical(made_with).encode()).hexdigest()
