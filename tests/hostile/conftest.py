"""The project's own configuration and schema are read once: that is most of what these tests would do."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saml.config import load as config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def read_once() -> Iterator[None]:
    """Nobody changes what is read: `load` merges into mappings of its own."""
    read = config._read
    kept = functools.cache(read)

    def read_own_once(path: Path) -> dict[str, Any]:
        return kept(path) if path.is_relative_to(ROOT) else read(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "_read", read_own_once)
        yield
