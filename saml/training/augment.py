"""SpecAugment and time stretching of log-mel batches (base training only)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F

from saml.compat.torchaudio import ensure
from saml.training.data import Batch

ensure()
from torchaudio.functional import mask_along_axis_iid  # noqa: E402


def spec_augment(batch: Batch, masks: Mapping[str, Any]) -> Batch:
    """Mask random stretches of time and frequency with 0 (Park et al. 2019).

    That is the mean of the Conformer's features; of Whisper's, which have no fixed one, it is a medium level.

    `masks` has the number and greatest width of each kind: time_masks, time_width (frames),
    frequency_masks, frequency_width (bins).
    """
    spectra = batch.features.transpose(1, 2)[:, None]  # (batch, 1, bins, time)
    for _ in range(masks["frequency_masks"]):
        spectra = mask_along_axis_iid(spectra, masks["frequency_width"], 0.0, axis=2)
    for _ in range(masks["time_masks"]):
        spectra = mask_along_axis_iid(spectra, masks["time_width"], 0.0, axis=3)
    return replace(batch, features=spectra[:, 0].transpose(1, 2).contiguous())


def stretch_time(batch: Batch, span: Sequence[float]) -> Batch:
    """Play a batch faster or slower by one random factor in `span`, by linear interpolation of its frames.

    It does for features what speed perturbation does for audio, pitch apart, at no cost of storage.
    """
    low, high = span
    factor = low + (high - low) * float(torch.rand(()))
    frames = max(1, round(batch.features.shape[1] * factor))
    features = F.interpolate(batch.features.transpose(1, 2), size=frames, mode="linear").transpose(1, 2)
    scale = frames / batch.features.shape[1]
    lengths = (batch.lengths * scale).round().long().clamp(1, frames)
    return replace(batch, features=features.contiguous(), lengths=lengths)
