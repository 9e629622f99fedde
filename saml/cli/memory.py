"""What to do when a command runs out of memory: the settings or options that it has."""

from saml.cli.stage_table import STAGES

# The keys that say how much a step of training, or of decoding, computes at once, by section.
_BATCHES = {
    "base_training": "batch_seconds",
    "pretraining": "batch_utterances",
    "adaptation": "batch_utterances",
    "decoding": "batch_seconds",
}
_BY_HAND = {
    "transcribe": "give --memory low, or lower --beams",
    "personalise": "close other programs, or use a machine with more",
}


def more_memory(command: str) -> str:
    """The advice for a command, as the end of a sentence."""
    if command not in STAGES:
        return _BY_HAND.get(command, "use a machine with more")
    keys = [f"{name}.{_BATCHES[name]}" for name in STAGES[command].sections if name in _BATCHES]
    return "give the job more" + (f", or lower {' or '.join(keys)}" if keys else "")
