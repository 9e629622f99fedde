"""The encoder over speech of any amount: batches of similar length, one after another."""

from collections.abc import Iterator, Sequence

from lhotse import MonoCut

from saml.crowd.recogniser import CrowdRecogniser
from saml.features.batching import by_length
from saml.features.log_mel import collate
from saml.models.recogniser import Encoded, Recogniser
from saml.training.common import device


def encoded_batches(
    recogniser: Recogniser,
    cuts: Sequence[MonoCut],
    *,
    max_seconds: float,
    members: Sequence[int] | None = None,
) -> Iterator[tuple[list[tuple[int, MonoCut]], Encoded]]:
    """Every cut once: a batch of (place in `cuts`, cut), and what the encoder makes of it; the longest first.

    A batch holds at most `max_seconds` of padded speech. Its features are read when its turn comes, and
    the routes of an adapted recogniser stand for it until the next.

    Args:
        recogniser: whose encoder.
        cuts: the utterances; one may be there for several members.
        max_seconds: of a batch, padding included.
        members: which member of a crowd each cut is encoded by.
    """
    for batch in by_length(list(enumerate(cuts)), max_seconds):
        if isinstance(recogniser, CrowdRecogniser) and members is not None:
            recogniser.assign([members[place] for place, _ in batch])
        padded, lengths = collate([cut for _, cut in batch])
        yield batch, recogniser.encode(padded.to(device()), lengths.to(device()))
