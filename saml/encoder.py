"""The encoder over speech of any amount: batches of similar length, one after another."""

from collections.abc import Iterator, Sequence

from lhotse import MonoCut

from saml.features import batches, collate
from saml.models.recogniser import Encoded, Recogniser
from saml.training.common import device


def encoded_batches(
    recogniser: Recogniser, cuts: Sequence[MonoCut], *, max_seconds: float
) -> Iterator[tuple[list[MonoCut], Encoded]]:
    """Every cut once: a batch of cuts, and what the encoder makes of them; the longest first, with padding.

    A batch holds at most `max_seconds` of padded speech. Its features are read when its turn comes, and
    the routes of an adapted recogniser stand for it until the next.
    """
    for batch in batches(cuts, max_seconds=max_seconds, shuffle=False):
        padded, lengths = collate(batch)
        yield batch, recogniser.encode(padded.to(device()), lengths.to(device()))
