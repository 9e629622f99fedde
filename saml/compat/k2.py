"""The CTC loss by k2, which is optional: the same number as torch's, from a lattice."""

import torch
from torch import Tensor

from saml.compat.optional import load

# k2 drops paths whose log-likelihood is so much below the best: they change no digit of the sum.
_BEAM = 100.0


def ctc_losses(scores: Tensor, text: Tensor, frames: Tensor, lengths: Tensor, *, blank: int) -> Tensor:
    """The loss of each utterance, `(batch,)`; 0 where the audio is too short for its text.

    Args:
        scores: log-probabilities `(batch, time, vocabulary)`, on the CPU.
        text: token ids `(batch, tokens)`; those after an utterance's length are ignored.
        frames: number of frames of each utterance, `(batch,)`.
        lengths: number of tokens of each utterance, `(batch,)`.
        blank: the id of the CTC blank.

    Raises:
        SamlError: k2 cannot be imported.
    """
    k2 = load("k2", "ctc_backend: k2", "torch")
    order = frames.argsort(descending=True, stable=True)  # k2 wants the longest first
    segments = torch.stack([order, torch.zeros_like(order), frames[order]], dim=1).to(torch.int32)
    # k2 expects the blank to be 0: it moves to the front, and the ids before it one place on.
    vocabulary = torch.arange(scores.shape[2])
    first = torch.cat([vocabulary[blank : blank + 1], vocabulary[:blank], vocabulary[blank + 1 :]])
    ids = torch.where(text < blank, text + 1, text)
    texts = [ids[row, : lengths[row]].tolist() for row in order.tolist()]
    sorted_losses = k2.ctc_loss(
        k2.ctc_graph(texts, modified=False),
        k2.DenseFsaVec(scores.float()[..., first].contiguous(), segments),
        output_beam=_BEAM,
        reduction="none",
    )
    losses = sorted_losses[order.argsort()].to(scores.dtype)
    return torch.where(losses.isfinite(), losses, torch.zeros_like(losses))
