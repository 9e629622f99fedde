"""Cuts as the tensors that a training step wants."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from lhotse import MonoCut
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from saml.features import collate, load_features
from saml.models.recogniser import Recogniser
from saml.models.tokeniser import END, START

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """A padded batch of utterances.

    Attributes:
        utterances: their ids.
        features: `(batch, time, bins)`; `lengths` `(batch,)` of its frames are real.
        inputs: decoder inputs `(batch, tokens)`: start, then the text; padded with END, which no loss sees.
        targets: the text, then end, `(batch, tokens)`; padded with IGNORED.
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


class Examples:
    """Features and tokens of a set of cuts, read from disk once and kept."""

    def __init__(self, cuts: Iterable[MonoCut], recogniser: Recogniser) -> None:
        self.cuts = list(cuts)
        self._features = load_features(self.cuts)
        encode = recogniser.tokeniser.encode
        self._tokens = {cut.id: encode(cut.supervisions[0].text) for cut in self.cuts}

    def part(self, part: str) -> list[MonoCut]:
        """The cuts marked as `part` (train or dev)."""
        return [cut for cut in self.cuts if cut.custom["part"] == part]

    def choose(self, utterances: Iterable[str]) -> list[MonoCut]:
        """The cuts with these ids, in the order of the ids."""
        by_id = {cut.id: cut for cut in self.cuts}
        return [by_id[utterance] for utterance in utterances]

    def batch(self, cuts: Sequence[MonoCut], groups: Sequence[int] | None = None) -> Batch:
        """The padded batch of `cuts`, which belong to `groups` (experts or speakers) where given."""
        features, lengths, _ = collate(cuts, self._features)
        tokens = [self._tokens[cut.id] for cut in cuts]
        inputs = [torch.tensor([START, *ids]) for ids in tokens]
        targets = [torch.tensor([*ids, END]) for ids in tokens]
        return Batch(
            utterances=[cut.id for cut in cuts],
            features=features,
            lengths=lengths,
            inputs=pad_sequence(inputs, batch_first=True, padding_value=END),
            targets=pad_sequence(targets, batch_first=True, padding_value=IGNORED),
            groups=torch.tensor(groups if groups is not None else [0] * len(cuts)),
        )
