"""What a job of several speakers has finished, kept until all of it is.

Snakemake removes all outputs of a job that failed or was killed. Each finished speaker's are therefore kept
under a second name (a hard link, or a copy where there are none) and taken back when the job starts again.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object, write_atomically

# Written last: without it a folder holds nothing that counts.
_COMPLETE = "complete.json"


def is_kept(folder: Path) -> bool:
    """Whether a job that has not ended yet keeps something in `folder`."""
    return (folder / _COMPLETE).exists()


def keep(folder: Path, key: str, outputs: Sequence[Path]) -> None:
    """Keep `outputs`, files or folders, in `folder`; `key` says what they were made of."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for index, output in enumerate(outputs):
        _link(output, folder / str(index))
    write_atomically(folder / _COMPLETE, json.dumps({"key": key}).encode())


def take_back(folder: Path, key: str, outputs: Sequence[Path]) -> bool:
    """Put what was kept in the places of `outputs`, as if written now.

    Returns whether it was there, all of it and of this `key`.
    """
    if not is_kept(folder):
        return False
    try:
        same = read_json_object(folder / _COMPLETE).get("key") == key
    except SamlError:
        return False
    places = [folder / str(index) for index in range(len(outputs))]
    if not same or not all(place.exists() for place in places):
        return False
    for place, output in zip(places, outputs, strict=True):
        remove(output)
        _link(place, output)
        os.utime(output)
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
