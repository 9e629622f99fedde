"""Splits of a target speaker into train, dev and test, and the dev part of a pool.

The schemes are given (by the corpus), contiguous, random and folds; contiguous and random split 2 : 1 : 2.
Utterances are sorted by id first, so that the order of a manifest has no influence.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saml.corpora.duplicates import first_of_each
from saml.corpora.sampling import ranked
from saml.runtime.errors import SamlError

PARTS = ("train", "dev", "test")

# The scheme without a test part, for an adapter that is used and not evaluated.
UNTESTED = "untested"

Division = dict[str, list[str]]


def split_speaker(
    speaker: str,
    parts: Mapping[str, str | None],
    partition: Mapping[str, Any],
    copies: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """The contents of `splits.json`: one speaker's utterances, split for adaptation.

    Args:
        speaker: the target speaker.
        parts: utterance id -> its part in the corpus (None if the corpus has no parts).
        partition: the config's section; `scheme`, `folds` and `seed` are used. (`enrolment` limits the
            training utterances at adaptation, see `enrolled`.)
        copies: groups of utterances of the same recording; each group stays in one part, and counts as one
            utterance. Where the corpus has given the parts, they are not changed.

    Returns:
        {"speaker", "scheme", "seed", "folds": [{"train": ids, "dev": ids, "test": ids}]}, ids sorted; one
        fold unless the scheme is folds. With copies also "copies", these groups.

    Raises:
        SamlError: a part would be empty, the scheme is given and the corpus has no parts, or the scheme does
            not exist.
    """
    scheme, seed = partition["scheme"], partition["seed"]
    first = first_of_each(parts, copies)
    ids = sorted(set(first.values()))
    if scheme == "given":
        folds = [_given(speaker, parts)]
    elif scheme == "contiguous":
        folds = [_cut(ids)]
    elif scheme == "random":
        folds = [_cut(ranked(ids, seed, "split", speaker))]
    elif scheme == "folds":
        folds = _folds(ranked(ids, seed, "split", speaker), partition["folds"], speaker)
    else:
        raise SamlError(f"partition.scheme: {scheme!r} is not one of given, contiguous, random, folds")
    for fold in folds:
        _refuse_empty(speaker, scheme, fold, len(ids))
    if scheme != "given":
        folds = [_with_copies(fold, first) for fold in folds]
    listed = {"copies": [list(group) for group in copies]} if copies else {}
    return {"speaker": speaker, "scheme": scheme, "seed": seed, "folds": folds} | listed


def split_for_use(
    speaker: str,
    utterances: Iterable[str],
    partition: Mapping[str, Any],
    copies: Iterable[Sequence[str]] = (),
) -> dict[str, Any]:
    """Splits without a test part, for an adapter that is used and not evaluated.

    Of the `folds` groups of `partition`, the one that is the test part of the first fold is dev (it selects
    the best epoch), the others are train. Otherwise as `split_speaker`; the scheme is `untested`.

    Raises:
        SamlError: there are fewer than two utterances.
    """
    first = first_of_each(utterances, copies)
    ordered = ranked(sorted(set(first.values())), partition["seed"], "split", speaker)
    dev = ordered[:: partition["folds"]]
    fold: Division = {"train": sorted(set(ordered) - set(dev)), "dev": sorted(dev), "test": []}
    _refuse_empty(speaker, UNTESTED, fold, len(ordered), ("train", "dev"))
    fold = _with_copies(fold, first)
    return {"speaker": speaker, "scheme": UNTESTED, "seed": partition["seed"], "folds": [fold]}


def enrolled(train: Iterable[str], limit: int | None, speaker: str) -> list[str]:
    """The training utterances for the adaptation to `speaker`: at most `limit` (None: all), sorted.

    They are ranked by hashes of speaker and utterance, so that a smaller enrolment is a subset of a larger
    one, and the same in all arms, seeds and experiments.

    Raises:
        SamlError: `limit` is less than 1.
    """
    ids = sorted(train)
    if limit is None:
        return ids
    if limit < 1:
        raise SamlError(
            f"partition.enrolment: {limit} training utterances are too few; choose 1 or more, or null"
        )
    return sorted(ranked(ids, "enrolment", speaker)[:limit])


def mark_dev(utterances: Iterable[str], share: float, seed: int, role: str) -> set[str]:
    """The dev part of a pool: a seeded share of its utterances, at least one unless the share is 0.

    The number is rounded to the nearest. Raises SamlError when no training utterance would remain.
    """
    ids = list(utterances)
    count = max(1, round(share * len(ids))) if share > 0 else 0
    if ids and count >= len(ids):
        raise SamlError(
            f"dev_share {share} of the {len(ids)} utterances of role {role} leaves no training utterance; "
            "give the role more utterances, or reduce dev_share"
        )
    return set(ranked(ids, seed, "dev", role)[:count])


def _with_copies(fold: Division, first: Mapping[str, str]) -> Division:
    """A division of first copies, with the other copies beside them."""
    return {part: sorted(one for one, own in first.items() if own in set(ids)) for part, ids in fold.items()}


def _given(speaker: str, parts: Mapping[str, str | None]) -> Division:
    fold: Division = {part: [] for part in PARTS}
    for utterance in sorted(parts):
        part = parts[utterance]
        if part not in fold:
            raise SamlError(
                f"partition.scheme is given, but utterance {utterance} of speaker {speaker} has no part in "
                "the corpus; choose contiguous, random or folds"
            )
        fold[part].append(utterance)
    return fold


def _cut(ordered: Sequence[str]) -> Division:
    """2 : 1 : 2, in order: n_train = n_test = round(0.4 N), the rest is dev."""
    # In integers, free of floating-point rounding; 0.4 N is never exactly between two integers.
    size = (4 * len(ordered) + 5) // 10
    middle = len(ordered) - size
    return {
        "train": sorted(ordered[:size]),
        "dev": sorted(ordered[size:middle]),
        "test": sorted(ordered[middle:]),
    }


def _folds(ordered: Sequence[str], count: int, speaker: str) -> list[Division]:
    """Each of `count` groups is test once; the group after it is dev, the others are train."""
    if count < 3:
        raise SamlError(
            f"partition.folds: {count} folds are too few for train, dev and test; choose at least 3 (`saml "
            "personalise`: --folds)"
        )
    if len(ordered) < count:
        raise SamlError(
            f"speaker {speaker} has {len(ordered)} utterances, fewer than partition.folds ({count}); reduce "
            "it (`saml personalise`: --folds; at least 3), record more, or remove the speaker "
            "(target_speakers; --speakers)"
        )
    groups = [list(ordered[index::count]) for index in range(count)]
    folds = []
    for index in range(count):
        dev = (index + 1) % count
        train = [name for other, group in enumerate(groups) if other not in (index, dev) for name in group]
        folds.append({"train": sorted(train), "dev": sorted(groups[dev]), "test": sorted(groups[index])})
    return folds


def _refuse_empty(
    speaker: str, scheme: str, fold: Division, total: int, parts: Sequence[str] = PARTS
) -> None:
    empty = [part for part in parts if not fold[part]]
    if empty and scheme == UNTESTED:
        raise SamlError(
            f"speaker {speaker} has {total} utterances, too few for an adapter; record more: some are to "
            "train on, others choose the best epoch"
        )
    if empty:
        raise SamlError(
            f"speaker {speaker} has {total} utterances: partition.scheme {scheme} leaves "
            f"{' and '.join(empty)} empty; add utterances, or remove the speaker from target_speakers"
        )
