"""How much of a step is computed at once: what takes one step together need not be."""

import torch

# Padded speech that is computed at once: a CPU likes what fits its caches, a GPU likes much.
_SECONDS_AT_ONCE = {"cpu": 30.0, "cuda": 600.0}


def seconds_at_once(device: torch.device) -> float:
    """How many seconds of speech, padding included, are computed at once on `device`."""
    return _SECONDS_AT_ONCE[device.type]
