"""The loss of each utterance, so that whoever needs it can average over a batch, an expert or a speaker."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from saml.compat import k2
from saml.models.recogniser import Encoded, Recogniser
from saml.training.data import IGNORED, Batch


@dataclass(frozen=True)
class UtteranceLosses:
    """Per utterance, each `(batch,)`: the loss that is trained, its correct tokens and its tokens."""

    loss: Tensor
    correct: Tensor
    tokens: Tensor


def utterance_losses(
    recogniser: Recogniser,
    batch: Batch,
    *,
    ctc_weight: float,
    label_smoothing: float = 0.0,
    ctc_backend: str = "torch",
) -> UtteranceLosses:
    """(1 - w) cross-entropy + w CTC, each the mean over an utterance's own tokens.

    Every utterance counts alike whatever its length and its batch-mates: an utterance's loss, and so an
    expert's or a speaker's, is the same in any batch. `ctc_backend` is who computes the CTC loss, "torch" or
    "k2".
    """
    encoded = recogniser.encode(batch.features, batch.lengths)
    logits = recogniser.logits(encoded, batch.inputs).float()
    real = batch.targets != IGNORED
    tokens = real.sum(dim=1)
    # Flat, because the two-dimensional kernel has no deterministic form on a GPU.
    entropy = F.cross_entropy(
        logits.flatten(0, 1),  # (batch x tokens, vocabulary)
        batch.targets.flatten(),
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
        reduction="none",
    ).view_as(batch.targets)
    loss = entropy.sum(dim=1) / tokens
    if ctc_weight:
        loss = (1 - ctc_weight) * loss + ctc_weight * ctc_losses(recogniser, encoded, batch, ctc_backend)
    correct = ((logits.argmax(dim=-1) == batch.targets) & real).sum(dim=1)
    return UtteranceLosses(loss, correct, tokens)


def ctc_losses(recogniser: Recogniser, encoded: Encoded, batch: Batch, backend: str = "torch") -> Tensor:
    """The CTC loss of each utterance per token, `(batch,)`; 0 where the audio is too short for its text.

    Raises SamlError where the backend is k2 and k2 is not there.
    """
    lengths = (batch.targets != IGNORED).sum(dim=1) - 1  # without the end token
    text = batch.targets[:, len(recogniser.tokeniser.prompt) - 1 :].clamp(min=0).cpu()
    # On the CPU: the gradient has no deterministic form on a GPU.
    scores = recogniser.ctc_logits(encoded).float().log_softmax(dim=-1).cpu()
    frames, blank = encoded.mask.sum(dim=1).cpu(), recogniser.tokeniser.pad
    if backend == "k2":
        losses = k2.ctc_losses(scores, text, frames, lengths.cpu(), blank=blank)
    else:
        losses = F.ctc_loss(
            scores.transpose(0, 1),  # (time, batch, vocabulary)
            text,
            frames,
            lengths.cpu(),
            blank=blank,
            reduction="none",
            zero_infinity=True,
        )
    return losses.to(lengths.device) / lengths.clamp(min=1)
