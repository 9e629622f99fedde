"""The parts of the pools, and the limit of held-out utterances."""

from pathlib import Path

import pytest

from saml.corpora.utterances import Utterance, limit_heldout, pool_parts
from saml.runtime.errors import SamlError


def utterances(role: str, count: int) -> list[Utterance]:
    return [Utterance(f"{role}{n:02d}", role, Path(), "one", None, role) for n in range(count)]


def test_each_pool_has_its_parts() -> None:
    items = [*utterances("base", 20), *utterances("pretrain", 10), *utterances("heldout", 5)]
    items += utterances("target", 4)
    parts = pool_parts(items, dev_share=0.2, seed=1)
    assert parts.keys() == {item.utterance for item in items if item.role != "target"}
    sizes = {
        (role, part): sum(name.startswith(role) and found == part for name, found in parts.items())
        for role in ("base", "pretrain", "heldout")
        for part in ("train", "dev", "test")
    }
    assert {key: size for key, size in sizes.items() if size} == {
        ("base", "train"): 16,
        ("base", "dev"): 4,
        ("pretrain", "train"): 8,
        ("pretrain", "dev"): 2,
        ("heldout", "test"): 5,
    }
    assert parts != pool_parts(items, dev_share=0.2, seed=2)
    assert parts == pool_parts(reversed(items), dev_share=0.2, seed=1)
    with pytest.raises(SamlError, match="role base leaves no training utterance"):
        pool_parts(utterances("base", 1), dev_share=0.2, seed=1)


def test_heldout_utterances_are_drawn_with_the_seed() -> None:
    items = [*utterances("base", 3), *utterances("heldout", 30)]

    def drawn(limit: int | None, seed: int) -> list[str]:
        kept = [item.utterance for item in limit_heldout(items, limit, seed)]
        assert kept[:3] == ["base00", "base01", "base02"] and kept == sorted(kept)
        return kept[3:]

    assert len(drawn(7, seed=1)) == 7 and set(drawn(4, seed=1)) < set(drawn(7, seed=1))
    assert drawn(7, seed=1) != drawn(7, seed=2)
    assert len(drawn(None, seed=1)) == len(drawn(30, seed=1)) == 30
