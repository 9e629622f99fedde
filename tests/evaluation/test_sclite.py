"""Word counts against those of NIST's sclite (Debian's `sctk` 2.4.10), recorded from real runs.

sclite aligns by other costs (4 for a substitution, 3 for a deletion or insertion; ours are 1 each), so where
an alignment with as many errors has more hits, it takes that one, and now and then one with more errors.
With sctk installed, `pytest -m system tests/evaluation/test_sclite.py` runs sclite itself.
"""

import random
from pathlib import Path

import pytest

from saml.evaluation.wer import OPERATIONS, count_normalised, error_rate, pool, reference_units
from tests.sclite import Four, needs_sclite, sclite

# (reference, hypothesis, sclite's hits, substitutions, deletions, insertions)
ALIKE: list[tuple[str, str, Four]] = [
    ("bin blue at f two now", "bin blue at f two now", (6, 0, 0, 0)),
    ("bin blue at f two now", "bin blue at s two now", (5, 1, 0, 0)),
    ("bin blue at f two now", "bin blue f two", (4, 0, 2, 0)),
    ("bin blue", "oh bin blue please", (2, 0, 0, 2)),
    ("bin blue", "", (0, 0, 2, 0)),
    ("", "bin blue now", (0, 0, 0, 3)),
    ("", "", (0, 0, 0, 0)),
    ("one two three four", "one three four five six", (3, 0, 1, 2)),
    ("it's won't can't", "its won't cant", (1, 2, 0, 0)),
    ("a a a b", "a b", (2, 0, 2, 0)),
    ("a b", "b a", (1, 0, 1, 1)),
    ("b c d e f", "a b c d e", (4, 0, 1, 1)),
    ("the cat sat on the mat", "the mat sat on the cat", (4, 2, 0, 0)),
    ("a well known twenty five", "a wellknown twentyfive", (1, 2, 2, 0)),
    ("one oh five", "105", (0, 1, 2, 0)),
    ("mister smith is here", "mr smith is here", (3, 1, 0, 0)),
    ("one two three", "four five six", (0, 3, 0, 0)),
    ("go", "go now to the place", (1, 0, 0, 4)),
    ("a b c d e f g h", "x c d e y f g z h q", (6, 1, 1, 3)),
    ("a b c d e", "b x d y a", (2, 2, 1, 1)),
    # Of the default experiment: accents unseen by the base model.
    ("set white at 06 please", "set white at q 6 siease", (3, 2, 0, 1)),
    ("bin blue at u 9 soon", "bin blue at 08 soon", (4, 1, 1, 0)),
    ("bin green at j one now", "bin blue by p 9 now", (2, 4, 0, 0)),
    ("bin white in c eight please", "bin green in k five noon", (2, 4, 0, 0)),
    ("bin blue in u one please", "bin blue in 03 soon", (3, 2, 1, 0)),
    ("lay red in 05 please", "lay red in r 3 now", (3, 2, 0, 1)),
]
# As many errors of different kinds: sclite has more hits.
OTHER_KINDS: list[tuple[str, str, Four, Four]] = [
    ("c b", "b d", (1, 0, 1, 1), (0, 2, 0, 0)),
    ("d a", "a b b", (1, 0, 1, 2), (0, 2, 0, 1)),
    ("c a b", "b d", (1, 0, 2, 1), (0, 2, 1, 0)),
]
# More errors than necessary.
MORE_ERRORS: list[tuple[str, str, Four, Four]] = [
    ("b b a d c d", "d c d d a b c", (3, 0, 3, 4), (2, 3, 1, 2)),
    ("b b c c c b d a", "d c b a d a b a", (4, 1, 3, 3), (3, 4, 1, 1)),
]


def ours(reference: str, hypothesis: str) -> Four:
    counts = count_normalised(reference, hypothesis)["words"]
    hits, substitutions, deletions, insertions = (counts[operation] for operation in OPERATIONS)
    return hits, substitutions, deletions, insertions


@pytest.mark.parametrize(("reference", "hypothesis", "theirs"), ALIKE)
def test_counts_are_those_of_sclite(reference: str, hypothesis: str, theirs: Four) -> None:
    assert ours(reference, hypothesis) == theirs


@pytest.mark.parametrize(("reference", "hypothesis", "theirs", "expected"), OTHER_KINDS)
def test_sclite_may_find_other_kinds_of_errors(
    reference: str, hypothesis: str, theirs: Four, expected: Four
) -> None:
    assert ours(reference, hypothesis) == expected
    assert sum(theirs[1:]) == sum(expected[1:]) and theirs[0] > expected[0]


@pytest.mark.parametrize(("reference", "hypothesis", "theirs", "expected"), MORE_ERRORS)
def test_sclite_may_count_more_errors(reference: str, hypothesis: str, theirs: Four, expected: Four) -> None:
    assert ours(reference, hypothesis) == expected
    assert sum(theirs[1:]) > sum(expected[1:]) and cost(theirs) <= cost(expected)


def cost(counts: Four) -> int:
    """The alignment cost that sclite minimises."""
    return 4 * counts[1] + 3 * counts[2] + 3 * counts[3]


def test_pooled_rate_is_that_of_sclite() -> None:
    """Its Sum/Avg line of these cases: 109 words, 56.9 % correct, 60.6 % errors."""
    pooled = pool(count_normalised(reference, hypothesis)["words"] for reference, hypothesis, _ in ALIKE)
    assert reference_units(pooled) == 109
    assert f"{100 * pooled['hits'] / 109:.1f} {100 * error_rate(pooled):.1f}" == "56.9 60.6"


# ---- with sclite itself ---------------------------------------------------------------------------


@pytest.mark.system
@needs_sclite
def test_recorded_counts_are_those_of_sclite(tmp_path: Path) -> None:
    cases = [*ALIKE, *((*case[:2], case[2]) for case in OTHER_KINDS + MORE_ERRORS)]
    assert sclite([case[:2] for case in cases], tmp_path) == [case[2] for case in cases]


@pytest.mark.system
@needs_sclite
def test_sclite_never_finds_fewer_errors_and_seldom_more(tmp_path: Path) -> None:
    draw = random.Random(2)
    pairs = [
        tuple(" ".join(draw.choice("abcd") for _ in range(draw.randrange(least, 9))) for least in (1, 0))
        for _ in range(2000)
    ]
    found = zip(sclite(pairs, tmp_path), (ours(*pair) for pair in pairs), strict=True)
    excess = [sum(theirs[1:]) - sum(own[1:]) for theirs, own in found]
    assert min(excess) == 0 and sum(number > 0 for number in excess) < 20
