"""Encoding of any number of cuts, in batches of similar length."""

from collections.abc import Iterator, Sequence

from lhotse import MonoCut
from lhotse.utils import fastcopy

from saml.features.batching import by_length, collate
from saml.models.recogniser import Encoded, Recogniser
from saml.runtime.devices import device


def encoded_batches(
    recogniser: Recogniser,
    cuts: Sequence[MonoCut],
    *,
    max_seconds: float,
    adapters: Sequence[int] | None = None,
) -> Iterator[tuple[list[tuple[int, MonoCut]], Encoded]]:
    """Encode every cut, the longest first: yields batches of (index in `cuts`, cut) with their encodings.

    The features of a batch are read when it is encoded. The routes of an adapted recogniser are those of the
    latest batch.

    Args:
        recogniser: its encoder is used.
        cuts: the utterances; one may occur several times, with different adapters.
        max_seconds: of a batch, padding included.
        adapters: in a multi-adapter batch, the index of each cut's adapter.
    """
    for batch in by_length(list(enumerate(cuts)), max_seconds):
        if adapters is not None:
            recogniser.assign([adapters[index] for index, _ in batch])
        padded, lengths = collate([cut for _, cut in batch])
        yield batch, recogniser.encode(padded.to(device()), lengths.to(device()))


def with_context(cut: MonoCut, frames: int) -> MonoCut:
    """A copy of a cut that is padded to `frames` feature frames in a batch."""
    return fastcopy(cut, custom={**(cut.custom or {}), "padded_frames": frames})
