"""Audio files: one reader for all that the program reads, and their conversion to 16 kHz mono."""

# Of all features and models, in Hz.
SAMPLING_RATE = 16_000
