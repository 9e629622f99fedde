"""Speaker-adaptive mixtures of LoRA experts for 4-bit speech recognisers."""

__version__ = "0.1.0"
