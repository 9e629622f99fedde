"""A batch in parts: what takes one step together need not be computed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from saml.lengths import padded_seconds

if TYPE_CHECKING:  # as for the loop, which works where lhotse is not installed
    from lhotse import MonoCut

Whose = TypeVar("Whose")

# Padded speech that is computed at once: a CPU likes what fits its caches, a GPU likes much.
_SECONDS_AT_ONCE = {"cpu": 30.0, "cuda": 600.0}


def seconds_at_once(device: torch.device) -> float:
    """How many seconds of speech, padding included, are computed at once on `device`."""
    return _SECONDS_AT_ONCE[device.type]


def by_length(rows: Sequence[tuple[Whose, MonoCut]], max_seconds: float) -> list[list[tuple[Whose, MonoCut]]]:
    """`rows`, the longest first, in parts of at most `max_seconds` of speech, padding included.

    A cut that is in a part alone may be longer. Next to nothing of a part is padding but what a Whisper
    wants after every utterance.
    """
    parts: list[list[tuple[Whose, MonoCut]]] = []
    for row in sorted(rows, key=lambda row: (-padded_seconds(row[1]), row[1].id)):
        if not parts or (len(parts[-1]) + 1) * padded_seconds(parts[-1][0][1]) > max_seconds:
            parts.append([])
        parts[-1].append(row)
    return parts
