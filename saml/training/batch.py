"""A padded batch of utterances."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """A padded batch of utterances.

    Attributes:
        utterances: their ids.
        features: `(batch, time, bins)`; `lengths` `(batch,)` of its frames are real.
        inputs: decoder inputs `(batch, tokens)`: the prompt, then the text; padded with the end token,
            which no loss sees.
        targets: what follows each input, `(batch, tokens)`: the text, then end; IGNORED in a prompt
            of several tokens and in the padding.
        groups: which expert or speaker an utterance belongs to, `(batch,)`; all 0 where it does not matter.
    """

    utterances: list[str]
    features: Tensor
    lengths: Tensor
    inputs: Tensor
    targets: Tensor
    groups: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        tensors = ("features", "lengths", "inputs", "targets", "groups")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})
