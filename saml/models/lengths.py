"""How many tokens and frames networks take, for those who have none at hand.

A family that is not here is looked at in training only.
"""

from collections.abc import Mapping
from typing import Any

# Positions of a Conformer's decoder: the prompt and a text.
CONFORMER_POSITIONS = 1024
# Convolutions of stride 2, one after the other, between features and encoder frames.
HALVINGS = {"conformer": 2, "whisper": 1}


def decoder_positions(family: str, settings: Mapping[str, Any]) -> int | None:
    """The tokens, prompt included, that a decoder has positions for; None where only the network knows."""
    if family == "conformer":
        return CONFORMER_POSITIONS
    return int(settings["max_target_positions"]) if family == "whisper" else None


def has_ctc_head(family: str, settings: Mapping[str, Any]) -> bool:
    """Whether a recogniser of this family, and with these settings, has a CTC head."""
    return family == "conformer" or (family == "whisper" and bool(settings["ctc_head"]))


def encoder_frames(family: str, frames: int) -> int:
    """Encoder frames of `frames` feature frames, of a recogniser of this family."""
    for _ in range(HALVINGS[family]):
        frames = -(-frames // 2)
    return frames
