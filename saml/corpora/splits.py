"""Who hears what: the splits of a target speaker and the dev part of a pool.

The schemes are given (the corpus says), contiguous, random and folds; all cut 2 : 1 : 2 but the first and
the last. Utterances are sorted by id before anything else, so that the order of a manifest plays no part.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saml.corpora.seeded import ranked
from saml.runtime.errors import SamlError

PARTS = ("train", "dev", "test")

# The scheme of splits without test parts: of an adapter that is used, not measured.
UNTESTED = "untested"

Division = dict[str, list[str]]


def split_speaker(
    speaker: str, parts: Mapping[str, str | None], partition: Mapping[str, Any]
) -> dict[str, Any]:
    """What `splits.json` holds: one speaker's utterances divided for adaptation.

    Args:
        speaker: whose utterances they are.
        parts: utterance id -> the part that the corpus gives it (None where it gives none).
        partition: of the config's section `scheme`, `folds` and `seed`. (How many of the training utterances
            an adaptation hears is settled there, see `enrolled`: all of them stand here.)

    Returns:
        {"speaker", "scheme", "seed", "folds": [{"train": ids, "dev": ids, "test": ids}]}, ids sorted; one
        fold unless the scheme is folds.

    Raises:
        SamlError: a part would be empty, the corpus gives no parts, or the scheme does not exist.
    """
    scheme, seed = partition["scheme"], partition["seed"]
    ids = sorted(parts)
    if scheme == "given":
        folds = [_given(speaker, parts)]
    elif scheme == "contiguous":
        folds = [_cut(ids)]
    elif scheme == "random":
        folds = [_cut(ranked(ids, seed, "split", speaker))]
    elif scheme == "folds":
        folds = _folds(ranked(ids, seed, "split", speaker), partition["folds"], speaker)
    else:
        raise SamlError(f"partition.scheme: {scheme!r} is none of given, contiguous, random, folds")
    for fold in folds:
        _refuse_empty(speaker, scheme, fold, len(ids))
    return {"speaker": speaker, "scheme": scheme, "seed": seed, "folds": folds}


def split_for_use(speaker: str, utterances: Iterable[str], partition: Mapping[str, Any]) -> dict[str, Any]:
    """Splits for an adapter that is used and not measured: nothing is kept for a test.

    One of `partition`'s `folds` groups, the one that is test in the first fold, is dev and chooses the epoch;
    all others are train. As `split_speaker` otherwise; the scheme is `untested`.

    Raises:
        SamlError: there are fewer than two utterances, which cannot be train and dev.
    """
    ordered = ranked(list(utterances), partition["seed"], "split", speaker)
    dev = ordered[:: partition["folds"]]
    fold: Division = {"train": sorted(set(ordered) - set(dev)), "dev": sorted(dev), "test": []}
    _refuse_empty(speaker, UNTESTED, fold, len(ordered), ("train", "dev"))
    return {"speaker": speaker, "scheme": UNTESTED, "seed": partition["seed"], "folds": [fold]}


def enrolled(train: Iterable[str], limit: int | None, speaker: str) -> list[str]:
    """The training utterances that an adaptation to `speaker` hears: at most `limit`, sorted; None: all.

    They are drawn in an order of hashes of speaker and utterance, so a smaller enrolment is part of a larger
    one, and the same in all arms, seeds and experiments. A speaker who has fewer than `limit` gives all.

    Raises:
        SamlError: `limit` is less than 1.
    """
    ids = sorted(train)
    if limit is None:
        return ids
    if limit < 1:
        raise SamlError(
            f"partition.enrolment: {limit} training utterances are too few; give 1 or more, or null"
        )
    return sorted(ranked(ids, "enrolment", speaker)[:limit])


def mark_dev(utterances: Iterable[str], share: float, seed: int, role: str) -> set[str]:
    """The utterances of a pool that are its dev part: a seeded share, one at least where the share is not 0.

    The number is rounded to the nearest. Raises SamlError where nothing would be left to train on.
    """
    ids = list(utterances)
    count = max(1, round(share * len(ids))) if share > 0 else 0
    if ids and count >= len(ids):
        raise SamlError(
            f"dev_share {share} of the {len(ids)} utterances of role {role} leaves none to train on; lower it"
        )
    return set(ranked(ids, seed, "dev", role)[:count])


def _given(speaker: str, parts: Mapping[str, str | None]) -> Division:
    fold: Division = {part: [] for part in PARTS}
    for utterance in sorted(parts):
        part = parts[utterance]
        if part not in fold:
            raise SamlError(
                f"partition.scheme is given, but the corpus gives utterance {utterance} of speaker {speaker} "
                "no part; choose contiguous, random or folds"
            )
        fold[part].append(utterance)
    return fold


def _cut(ordered: Sequence[str]) -> Division:
    """2 : 1 : 2, in order: n_train = n_test = round(0.4 N), and the rest is dev."""
    # In whole numbers: 0.4 N is never halfway between two, so this is the nearest, free of binary fractions.
    size = (4 * len(ordered) + 5) // 10
    middle = len(ordered) - size
    return {
        "train": sorted(ordered[:size]),
        "dev": sorted(ordered[size:middle]),
        "test": sorted(ordered[middle:]),
    }


def _folds(ordered: Sequence[str], count: int, speaker: str) -> list[Division]:
    """Each of `count` groups is test once; the next group is dev, the others are train."""
    if count < 3:
        raise SamlError(f"partition.folds: {count} folds cannot hold train, dev and test; give at least 3")
    if len(ordered) < count:
        raise SamlError(
            f"speaker {speaker} has {len(ordered)} utterances, fewer than partition.folds ({count}); lower "
            "it (`saml personalise`: --folds; 3 at least), record more, or leave the speaker out "
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
    if empty:
        raise SamlError(
            f"speaker {speaker} has {total} utterances: partition.scheme {scheme} leaves "
            f"{' and '.join(empty)} empty; give more utterances, or leave the speaker out of target_speakers"
        )
