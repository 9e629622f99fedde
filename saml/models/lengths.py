"""How many tokens and frames networks take, for those who have none at hand."""

# Positions of a Conformer's decoder: the prompt and a text.
CONFORMER_POSITIONS = 1024
# Convolutions of stride 2, one after the other, between features and encoder frames.
HALVINGS = {"conformer": 2, "whisper": 1}


def encoder_frames(family: str, frames: int) -> int:
    """Encoder frames of `frames` feature frames, of a recogniser of this family."""
    for _ in range(HALVINGS[family]):
        frames = -(-frames // 2)
    return frames
