"""Log-mel features: computation, storage, batches."""

# The frame rate of both model families' features.
FRAMES_A_SECOND = 100
