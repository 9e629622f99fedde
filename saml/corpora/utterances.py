"""Utterances of corpora of recordings, and the parts of the pools."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from saml.corpora.duplicates import first_of_each
from saml.corpora.sampling import ranked
from saml.corpora.splits import mark_dev
from saml.runtime.progress import Progress

# Roles whose speech is prepared as a whole, without asking for a speaker.
POOLS = ("base", "pretrain", "heldout")


@dataclass(frozen=True)
class Utterance:
    """An utterance with a file of its own; `seconds` if the corpus gives its duration."""

    utterance: str
    speaker: str
    path: Path
    text: str
    seconds: float | None
    role: str


class Named(Protocol):
    """Anything with an id."""

    @property
    def utterance(self) -> str:
        """Its id."""


class Placed(Named, Protocol):
    """Anything with an id whose speaker has a role."""

    @property
    def role(self) -> str:
        """base, pretrain, heldout, or a role that is not a pool."""


Item = TypeVar("Item", bound=Placed)
NamedItem = TypeVar("NamedItem", bound=Named)


def limit_heldout(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """The items with at most `limit` held-out utterances, because every adapted model decodes all of them.

    The held-out utterances are drawn with the seed.
    """
    heldout = [item.utterance for item in items if item.role == "heldout"]
    if limit is None or len(heldout) <= limit:
        return list(items)
    # The role's former name is part of the key, so that the drawn utterances stay the same.
    chosen = set(ranked(heldout, seed, "general")[:limit])
    return [item for item in items if item.role != "heldout" or item.utterance in chosen]


def pool_parts(
    items: Iterable[Placed], dev_share: float, seed: int, copies: Iterable[Sequence[str]] = ()
) -> dict[str, str]:
    """Utterance -> part, for the pools: train or dev of `base` and `pretrain`, test of `heldout`.

    `copies`: groups of utterances of the same recording (see `duplicates.identical`); within a pool each
    group stays in one part.

    Raises SamlError when no training utterance of a pool would remain.
    """
    of_role: dict[str, list[str]] = {"base": [], "pretrain": [], "heldout": []}
    for item in items:
        of_role.get(item.role, []).append(item.utterance)
    parts = {utterance: "test" for utterance in of_role["heldout"]}
    for role in ("base", "pretrain"):
        first = first_of_each(of_role[role], copies)
        dev = mark_dev(sorted(set(first.values())), dev_share, seed, role)
        parts.update({one: "dev" if first[one] in dev else "train" for one in of_role[role]})
    return parts


def with_progress(items: Sequence[NamedItem], progress: Progress) -> Iterator[NamedItem]:
    """Iterate over the items and report each to `progress`."""
    for done, item in enumerate(items, start=1):
        yield item
        progress.update(done, item.utterance)
