"""Utterances as the tensors that a training step needs, and the batches of an epoch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from lhotse import MonoCut
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from saml.corpora.manifests import file_of
from saml.features.batching import batches, by_length, collate, padded
from saml.features.store import load_features
from saml.models.recogniser import Recogniser
from saml.runtime.errors import SamlError

IGNORED = -100

# Features up to so many bytes stay in memory; those of a hundred hours, 12 GB, are read batch by batch.
IN_MEMORY = 1 << 30

# An utterance and the index of the adapter that is trained or scored on it.
Row = tuple[int, MonoCut]


@dataclass(frozen=True)
class Batch:
    """A padded batch of utterances.

    Attributes:
        utterances: their ids.
        features: `(batch, time, bins)`; `lengths` `(batch,)` of its frames are real.
        inputs: decoder inputs `(batch, tokens)`: the prompt, then the text; padded with the end token,
            which no loss sees.
        targets: the token after each input, `(batch, tokens)`: the text, then end; IGNORED in a prompt of
            several tokens and in the padding.
    """

    utterances: list[str]
    features: Tensor
    lengths: Tensor
    inputs: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        tensors = ("features", "lengths", "inputs", "targets")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})


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

    def batch(self, cuts: Sequence[MonoCut]) -> Batch:
        """The padded batch of `cuts`."""
        features, lengths = collate(cuts, self._features)
        tokens = [self._tokens[cut.id] for cut in cuts]
        prompt, end = self._tokeniser.prompt, self._tokeniser.end
        given = [IGNORED] * (len(prompt) - 1)  # the tokens of a prompt are no targets
        inputs = [torch.tensor([*prompt, *ids]) for ids in tokens]
        targets = [torch.tensor([*given, *ids, end]) for ids in tokens]
        return Batch(
            utterances=[cut.id for cut in cuts],
            features=features,
            lengths=lengths,
            inputs=pad_sequence(inputs, batch_first=True, padding_value=end),
            targets=pad_sequence(targets, batch_first=True, padding_value=IGNORED),
        )


def part_of(cuts: Iterable[MonoCut], part: str) -> list[MonoCut]:
    """The cuts marked as `part` (train or dev). Raises SamlError when there are none."""
    chosen = [cut for cut in cuts if cut.custom["part"] == part]
    if not chosen:
        raise SamlError(f"no utterance of the pool is in its {part} part; see its dropped.tsv")
    return chosen


def shuffled(cuts: Sequence[MonoCut], utterances: int, seed: int, epoch: int) -> list[list[MonoCut]]:
    """The batches of an epoch, of so many `utterances` each."""
    return batches(cuts, max_utterances=utterances, seed=seed, epoch=epoch)


def in_order(cuts: Sequence[MonoCut], *, max_seconds: float = 60.0) -> list[list[MonoCut]]:
    """Batches for evaluation: sorted by length, nothing random."""
    return [[cut for _, cut in part] for part in by_length([(None, cut) for cut in cuts], max_seconds)]


def split_rows(rows: Sequence[Row], max_seconds: float, *, together: bool) -> list[Sequence[Row]]:
    """The rows of a step in parts of at most `max_seconds` of padded speech, each of similar length.

    With `together`, the rows of an adapter stay in one part: a router that sees the decoder's input sees
    padding too, which must be that of the adapter's own batch.
    """
    if not together:
        return list(by_length(rows, max_seconds))
    parts: list[list[Row]] = []
    for _, group in groupby(sorted(rows, key=lambda row: row[0]), lambda row: row[0]):
        own = list(group)
        if parts and padded([cut for _, cut in [*parts[-1], *own]]) <= max_seconds:
            parts[-1] += own
        else:
            parts.append(own)
    return list(parts)


def own_tokens(batch: Batch, adapters: Sequence[int]) -> Tensor:
    """How many tokens each row would have, padding included, in a batch of its adapter alone, `(batch,)`."""
    real = batch.targets != IGNORED
    lengths = (real * torch.arange(1, real.shape[1] + 1)).amax(dim=1)
    indices = torch.tensor(adapters)
    return torch.tensor([int(lengths[indices == adapter].max()) for adapter in adapters])


def _bytes(cuts: Iterable[MonoCut]) -> int:
    """The size of the features of `cuts` in memory, in float32."""
    return sum(4 * cut.features.num_frames * cut.features.num_features for cut in cuts)


def _tokens(cut: MonoCut, recogniser: Recogniser) -> list[int]:
    """The tokens of a transcript, which preparation has checked, unless the tokeniser was learned since."""
    room = recogniser.max_tokens - len(recogniser.tokeniser.prompt)
    try:
        ids = recogniser.tokeniser.encode(cut.supervisions[0].text)
        if len(ids) > room:
            raise SamlError(f"{len(ids)} tokens exceed the model's {room}; divide the recording")
    except SamlError as error:
        remedy = "correct its transcript or take it out of the corpus, and prepare that again"
        raise SamlError(f"utterance {cut.id} ({file_of(cut)}): {error}; {remedy}") from None
    return ids
