"""Batches of cuts of similar length, and their features as a padded tensor."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from saml.features import FRAMES_A_SECOND

if TYPE_CHECKING:  # a training whose features are in memory runs without lhotse
    from lhotse import MonoCut

Label = TypeVar("Label")

# Buckets hold this many batches, so that an epoch is well mixed and a batch is still of one length.
_BATCHES_PER_BUCKET = 8


def padded_seconds(cut: MonoCut) -> float:
    """Seconds of a cut as the model processes it: for Whisper with the silence that `collate` appends."""
    frames = (cut.custom or {}).get("padded_frames") or 0
    return float(max(cut.duration, frames / FRAMES_A_SECOND))


def padded(cuts: Sequence[MonoCut]) -> float:
    """Seconds of speech in a batch of `cuts`, padding included."""
    return len(cuts) * max(map(padded_seconds, cuts), default=0.0)


def by_length(rows: Sequence[tuple[Label, MonoCut]], max_seconds: float) -> list[list[tuple[Label, MonoCut]]]:
    """`rows`, the longest cut first, in batches of at most `max_seconds` of speech, padding included.

    A cut that is longer is a batch by itself. There is hardly any padding, besides the silence that Whisper
    needs after every utterance.
    """
    filled: list[list[tuple[Label, MonoCut]]] = []
    for row in sorted(rows, key=lambda row: (-padded_seconds(row[1]), row[1].id)):
        if not filled or (len(filled[-1]) + 1) * padded_seconds(filled[-1][0][1]) > max_seconds:
            filled.append([])
        filled[-1].append(row)
    return filled


def collate(cuts: Sequence[MonoCut], features: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """A padded batch of cuts.

    Args:
        cuts: the batch, with features.
        features: the result of `load_features` for at least these cuts; None: they are read from disk.

    Returns:
        Features `(batch, frames, bins)` float32, and the number of frames of each utterance, `(batch,)`
        int64. The Conformer's padding is 0 (the mean of every bin); Whisper's is silence up to the length
        that the model needs, which is not counted as frames of the utterance.
    """
    if features is None:
        # Imported here: a training whose features are in memory runs without lhotse.
        from saml.features.store import load_features

        features = load_features(cuts)
    matrices = [features[cut.id] for cut in cuts]
    repeats = [(cut.custom or {}).get("padded_frames") for cut in cuts]
    longest = max(max(len(matrix) for matrix in matrices), max(repeat or 0 for repeat in repeats))
    batch = torch.zeros(len(cuts), longest, matrices[0].shape[1])
    for row, matrix, repeat in zip(batch, matrices, repeats, strict=True):
        row[: len(matrix)] = matrix
        if repeat is not None:
            row[len(matrix) :] = matrix[-1]
    lengths = torch.tensor(
        [min(cut.num_frames, len(matrix)) for cut, matrix in zip(cuts, matrices, strict=True)]
    )
    return batch, lengths


def batches(
    cuts: Iterable[MonoCut],
    *,
    max_seconds: float | None = None,
    max_utterances: int | None = None,
    seed: int = 0,
    epoch: int = 0,
) -> list[list[MonoCut]]:
    """The shuffled batches of a training epoch: every cut once, cuts of similar length together.

    Args:
        cuts: the cuts of the epoch.
        max_seconds: of padded speech in a batch, the longest cut times the number of cuts. A longer cut is a
            batch by itself.
        max_utterances: in a batch.
        seed: determines the order together with `epoch`; the order of `cuts` has no influence.
        epoch: number of the epoch, from 0.
    """
    ordered = sorted(cuts, key=lambda cut: (-padded_seconds(cut), cut.id))
    generator = random.Random(f"{seed}/{epoch}")
    # Buckets of similar lengths are shuffled, so that the composition of batches differs between epochs.
    estimate = len(_fill(ordered, max_seconds, max_utterances))
    buckets = max(1, estimate // _BATCHES_PER_BUCKET)
    size = -(-len(ordered) // buckets) or 1
    mixed: list[MonoCut] = []
    for start in range(0, len(ordered), size):
        bucket = ordered[start : start + size]
        generator.shuffle(bucket)
        mixed += bucket
    filled = _fill(mixed, max_seconds, max_utterances)
    generator.shuffle(filled)
    return filled


def _fill(cuts: list[MonoCut], max_seconds: float | None, max_utterances: int | None) -> list[list[MonoCut]]:
    """The cuts in their order; a new batch begins when the next cut does not fit."""
    filled: list[list[MonoCut]] = []
    longest = 0.0
    for cut in cuts:
        grown = max(longest, padded_seconds(cut))
        full = filled and (
            (max_utterances is not None and len(filled[-1]) >= max_utterances)
            or (max_seconds is not None and grown * (len(filled[-1]) + 1) > max_seconds)
        )
        if full or not filled:
            filled.append([])
            grown = padded_seconds(cut)
        filled[-1].append(cut)
        longest = grown
    return filled
