"""How long utterances are as a model gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # trainings from batches at hand do without lhotse
    from lhotse import MonoCut

# Of log-mel features of either family.
SECONDS_A_FRAME = 0.01


def padded_seconds(cut: MonoCut) -> float:
    """Seconds of a cut as the model gets it: Whisper's with the silence that `collate` adds after it."""
    frames = (cut.custom or {}).get("padded_frames") or 0
    return float(max(cut.duration, frames * SECONDS_A_FRAME))
