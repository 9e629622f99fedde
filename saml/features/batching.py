"""How long utterances are as a model gets them, and batches of those that are of like length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # trainings from batches at hand do without lhotse
    from lhotse import MonoCut

Whose = TypeVar("Whose")

# Of log-mel features of either family.
FRAMES_A_SECOND = 100


def padded_seconds(cut: MonoCut) -> float:
    """Seconds of a cut as the model gets it: Whisper's with the silence that `collate` adds after it."""
    frames = (cut.custom or {}).get("padded_frames") or 0
    return float(max(cut.duration, frames / FRAMES_A_SECOND))


def padded(cuts: Sequence[MonoCut]) -> float:
    """Seconds of speech in a batch of `cuts`, padding included."""
    return len(cuts) * max(map(padded_seconds, cuts), default=0.0)


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
