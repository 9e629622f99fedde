"""What every corpus of recordings knows of an utterance, and which of a pool's utterances go where."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from saml.corpora.seeded import ranked
from saml.corpora.splits import mark_dev
from saml.runtime.progress import Progress


@dataclass(frozen=True)
class Utterance:
    """An utterance that has a file of its own, as the corpus lists it."""

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
        """base, pretrain, heldout, or another that is no pool's."""


Item = TypeVar("Item", bound=Placed)
Listing = TypeVar("Listing", bound=Named)


def limit_heldout(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """At most `limit` held-out utterances, drawn by the seed: every adapted model decodes all of them."""
    heldout = [item.utterance for item in items if item.role == "heldout"]
    if limit is None or len(heldout) <= limit:
        return list(items)
    # The role's former name: another key would draw other utterances.
    chosen = set(ranked(heldout, seed, "general")[:limit])
    return [item for item in items if item.role != "heldout" or item.utterance in chosen]


def pool_parts(items: Iterable[Placed], dev_share: float, seed: int) -> dict[str, str]:
    """Utterance -> part, for the pools: train or dev of `base` and `pretrain`, test of `heldout`.

    Raises SamlError where the dev part would be all of a pool.
    """
    of_role: dict[str, list[str]] = {"base": [], "pretrain": [], "heldout": []}
    for item in items:
        of_role.get(item.role, []).append(item.utterance)
    parts = {utterance: "test" for utterance in of_role["heldout"]}
    for role in ("base", "pretrain"):
        dev = mark_dev(of_role[role], dev_share, seed, role)
        parts.update({utterance: "dev" if utterance in dev else "train" for utterance in of_role[role]})
    return parts


def followed(items: Sequence[Listing], progress: Progress) -> Iterator[Listing]:
    """The items, one after the other, while `progress` counts them."""
    for done, item in enumerate(items, start=1):
        yield item
        progress.update(done, item.utterance)
