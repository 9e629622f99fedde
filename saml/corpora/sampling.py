"""Seeded sampling that depends on names alone, never on order, process or library version."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TypeVar

Item = TypeVar("Item")


def stable_hash(*parts: object) -> int:
    """A 64-bit number computed from the parts, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def ranked(names: Iterable[str], *key: object) -> list[str]:
    """The names in the order of their hashes: adding or removing a name keeps the order of the others."""
    return sorted(names, key=lambda name: (stable_hash(*key, name), name))


def sample(items: Sequence[Item], count: int, *key: object) -> list[Item]:
    """`count` different items in the order drawn; a smaller `count` gives the start of the same list.

    Raises ValueError when there are fewer than `count` items.
    """
    if count > len(items):
        raise ValueError(f"cannot draw {count} of {len(items)}")
    indices: dict[int, None] = {}
    draw = 0
    while len(indices) < count:
        indices.setdefault(stable_hash(*key, draw) % len(items))
        draw += 1
    return [items[index] for index in indices]
