"""Choices that depend on a seed and on names, never on order, process or library version."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TypeVar

Item = TypeVar("Item")


def seeded(*parts: object) -> int:
    """A 64-bit number from the parts; the same parts give the same number everywhere."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def ranked(names: Iterable[str], *key: object) -> list[str]:
    """The names in the order of their hashes: adding or removing one leaves the order of the others."""
    return sorted(names, key=lambda name: (seeded(*key, name), name))


def drawn(items: Sequence[Item], count: int, *key: object) -> list[Item]:
    """`count` different items, in the order drawn; a smaller `count` gives the beginning of the same list.

    Raises ValueError where there are fewer than `count` items.
    """
    if count > len(items):
        raise ValueError(f"cannot draw {count} of {len(items)}")
    places: dict[int, None] = {}
    turn = 0
    while len(places) < count:
        places.setdefault(seeded(*key, turn) % len(items))
        turn += 1
    return [items[place] for place in places]
