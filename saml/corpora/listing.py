"""The folders of a corpus: what belongs to it, and files whose names look alike."""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from saml.runtime.errors import SamlError
from saml.runtime.text import plain_text

# What operating systems, editors and archives leave behind; so do names that begin with a dot.
_FOREIGN = {"@eadir", "__macosx", "thumbs.db", "desktop.ini", "#recycle", "$recycle.bin"}


def visible(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` whose names belong to a corpus, sorted: not hidden, and not left by some program."""
    return sorted(path for path in paths if _belongs(path.name))


def visible_files(root: Path) -> Iterator[Path]:
    """All visible files in `root` and the visible folders below it, folder by folder, each sorted.

    Links to folders are followed; a folder that is reached again, as by a link to one above, is left out.
    """
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = sorted(filter(_belongs, below))
        if os.path.realpath(folder) in seen:
            below.clear()
            continue
        seen.add(os.path.realpath(folder))
        yield from (Path(folder, name) for name in sorted(filter(_belongs, names)))


def stored(root: Path, inside: str) -> Path:
    """The file `inside` the folder `root`, under the name that it has on disk.

    Where there is no file of exactly that name, one whose name looks the same is taken: with composed
    letters for letters and accents apart, a plain apostrophe for a typographic one, and so on. A file that
    does not exist has the name that was asked for.

    Raises SamlError where several names look the same.
    """
    path = root / inside
    if os.path.lexists(path):
        return path
    found = root
    for name in Path(inside).parts:
        found = found / (name if os.path.lexists(found / name) else _alike(found, name))
    return found


def named_folder(settings: Mapping[str, Any], key: str, variable: str) -> tuple[str, str]:
    """The folder that a corpus's section names under `root`, and `key`; else what the environment names.

    An empty name where neither does.
    """
    if settings["root"]:
        return str(settings["root"]), key
    return os.environ.get(variable, ""), variable


def _belongs(name: str) -> bool:
    return not name.startswith(".") and name.casefold() not in _FOREIGN


def _alike(folder: Path, name: str) -> str:
    """The name in `folder` that looks like `name`; `name` itself where there is none."""
    try:
        names = _names(folder, os.stat(folder).st_mtime_ns).get(plain_text(name), [])
    except (OSError, ValueError):  # no folder, or no name of one
        return name
    if len(names) > 1:
        raise SamlError(f"{folder}: the names {names[0]!a} and {names[1]!a} look the same; rename one")
    return names[0] if names else name


@lru_cache(maxsize=64)
def _names(folder: Path, changed: int) -> dict[str, list[str]]:
    """The names in a folder, last `changed` then, by their plain form; kept for the lines of a manifest."""
    names: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):
        names.setdefault(plain_text(name), []).append(name)
    return names
