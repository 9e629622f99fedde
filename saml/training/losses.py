"""The loss of each utterance, so that whoever needs it can average over a batch, an expert or a speaker."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from saml.models.recogniser import Encoded, Recogniser
from saml.training.batch import IGNORED, Batch


@dataclass(frozen=True)
class UtteranceLosses:
    """Per utterance, each `(batch,)`: the loss that is trained, its correct tokens and its tokens."""

    loss: Tensor
    correct: Tensor
    tokens: Tensor


def utterance_losses(
    recogniser: Recogniser, batch: Batch, *, ctc_weight: float, label_smoothing: float = 0.0
) -> UtteranceLosses:
    """(1 - w) cross-entropy + w CTC, each the mean over an utterance's own tokens.

    Every utterance counts alike whatever its length and its batch-mates: an utterance's loss, and so an
    expert's or a speaker's, is the same in any batch.
    """
    encoded = recogniser.encode(batch.features, batch.lengths)
    logits = recogniser.logits(encoded, batch.inputs)
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
        loss = (1 - ctc_weight) * loss + ctc_weight * ctc_losses(recogniser, encoded, batch)
    correct = ((logits.argmax(dim=-1) == batch.targets) & real).sum(dim=1)
    return UtteranceLosses(loss, correct, tokens)


def ctc_losses(recogniser: Recogniser, encoded: Encoded, batch: Batch) -> Tensor:
    """The CTC loss of each utterance per token, `(batch,)`; 0 where the audio is too short for its text."""
    lengths = (batch.targets != IGNORED).sum(dim=1) - 1  # without the end token
    text = batch.targets[:, len(recogniser.tokeniser.prompt) - 1 :]
    scores = recogniser.ctc_logits(encoded).float().log_softmax(dim=-1)
    losses = F.ctc_loss(  # on the CPU: its gradient has no deterministic form on a GPU
        scores.transpose(0, 1).cpu(),  # (time, batch, vocabulary)
        text.clamp(min=0).cpu(),
        encoded.mask.sum(dim=1).cpu(),
        lengths.cpu(),
        blank=recogniser.tokeniser.pad,
        reduction="none",
        zero_infinity=True,
    ).to(lengths.device)
    return losses / lengths.clamp(min=1)


def grouped_mean(losses: Tensor, groups: Tensor) -> Tensor:
    """The sum over groups of each group's mean loss (a scalar).

    The gradient that reaches a group's own parameters is that of its own mean, as if it were alone.
    """
    counts = torch.bincount(groups)
    return (losses / counts[groups]).sum()
