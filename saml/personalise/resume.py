"""Steps that are not done twice: after an interruption the command goes on where it was."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from saml.config.load import canonical
from saml.runtime.files import checksum, write_atomically


def once(
    output: Path, settings: Mapping[str, Any], files: Iterable[Path], step: Callable[[], object]
) -> None:
    """Run `step`, which writes `output`, unless it has done so with these settings and contents of `files`.

    What it was done with is kept beside the output, in a file of its own.
    """
    inputs = {path.name: checksum(path) for path in files}
    wanted = hashlib.sha256(canonical({"settings": settings, "files": inputs}).encode()).hexdigest()
    done = output.with_name(f".{output.name}.done")
    if output.is_file() and done.is_file() and done.read_text() == wanted:
        return
    done.unlink(missing_ok=True)
    step()
    write_atomically(done, wanted.encode())
