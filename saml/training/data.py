"""Cuts as the tensors that a training step wants."""

from collections.abc import Iterable, Sequence

import torch
from lhotse import MonoCut
from torch.nn.utils.rnn import pad_sequence

from saml.features.log_mel import collate, load_features
from saml.models.recogniser import Recogniser
from saml.runtime.errors import SamlError
from saml.training.batch import IGNORED, Batch

# Features up to so many bytes stay in memory; those of a hundred hours, 12 GB, are read batch by batch.
IN_MEMORY = 1 << 30


class Examples:
    """Features and tokens of a set of cuts, read once; features larger than `in_memory` batch by batch."""

    def __init__(
        self, cuts: Iterable[MonoCut], recogniser: Recogniser, *, in_memory: int = IN_MEMORY
    ) -> None:
        self.cuts = list(cuts)
        self._features = load_features(self.cuts) if _bytes(self.cuts) <= in_memory else None
        self._tokens = {cut.id: _tokens(cut, recogniser) for cut in self.cuts}
        self._tokeniser = recogniser.tokeniser

    def part(self, part: str) -> list[MonoCut]:
        """The cuts marked as `part` (train or dev). Raises SamlError when there are none."""
        return part_of(self.cuts, part)

    def choose(self, utterances: Iterable[str]) -> list[MonoCut]:
        """The cuts with these ids, in the order of the ids."""
        by_id = {cut.id: cut for cut in self.cuts}
        return [by_id[utterance] for utterance in utterances]

    def batch(self, cuts: Sequence[MonoCut], groups: Sequence[int] | None = None) -> Batch:
        """The padded batch of `cuts`, which belong to `groups` (experts or speakers) where given."""
        features, lengths = collate(cuts, self._features)
        tokens = [self._tokens[cut.id] for cut in cuts]
        prompt, end = self._tokeniser.prompt, self._tokeniser.end
        given = [IGNORED] * (len(prompt) - 1)  # what a prompt says of itself is no target
        inputs = [torch.tensor([*prompt, *ids]) for ids in tokens]
        targets = [torch.tensor([*given, *ids, end]) for ids in tokens]
        return Batch(
            utterances=[cut.id for cut in cuts],
            features=features,
            lengths=lengths,
            inputs=pad_sequence(inputs, batch_first=True, padding_value=end),
            targets=pad_sequence(targets, batch_first=True, padding_value=IGNORED),
            groups=torch.tensor(groups if groups is not None else [0] * len(cuts)),
        )


def part_of(cuts: Iterable[MonoCut], part: str) -> list[MonoCut]:
    """The cuts marked as `part` (train or dev). Raises SamlError when there are none."""
    chosen = [cut for cut in cuts if cut.custom["part"] == part]
    if not chosen:
        raise SamlError(f"no utterance of the pool is in its {part} part; see its dropped.tsv")
    return chosen


def _bytes(cuts: Iterable[MonoCut]) -> int:
    """What the features of `cuts` take in memory, in float32."""
    return sum(4 * cut.features.num_frames * cut.features.num_features for cut in cuts)


def _tokens(cut: MonoCut, recogniser: Recogniser) -> list[int]:
    try:
        ids = recogniser.tokeniser.encode(cut.supervisions[0].text)
    except SamlError as error:
        raise SamlError(f"utterance {cut.id}: {error}") from None
    room = recogniser.max_tokens - len(recogniser.tokeniser.prompt)
    if len(ids) > room:
        raise SamlError(f"utterance {cut.id}: {len(ids)} tokens exceed the model's {room}")
    return ids
