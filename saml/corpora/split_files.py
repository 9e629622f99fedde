"""The splits of a target speaker as read from `splits.json`, which a user may have replaced."""

import hashlib
import json
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from saml.corpora.splits import PARTS, UNTESTED
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object


@dataclass(frozen=True)
class Fold:
    """Utterance ids of one division of a target speaker's utterances."""

    train: list[str]
    dev: list[str]
    test: list[str]

    @property
    def digest(self) -> str:
        """A digest of the utterances that an adaptation to this fold uses: train and dev, in any order."""
        parts = [sorted(self.train), sorted(self.dev)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_splits(path: Path, known: Container[str], *, untested: bool = False) -> list[Fold]:
    """The folds of a target speaker; everything in the file is checked.

    Args:
        path: `splits.json`.
        known: the speaker's utterance ids.
        untested: accept the file of `splits.split_for_use` too, whose test part is empty.

    Raises:
        SamlError: naming file, fold and utterance: the file has another form, a part is missing or empty, an
            utterance is not among the `known` ids, is in two parts or twice in one, or tested in two folds.
    """
    content = read_json_object(path)
    try:
        folds = [{part: list(fold[part]) for part in PARTS} for fold in content["folds"]]
    except (KeyError, TypeError) as error:
        raise SamlError(f"{path}: not a file of folds with train, dev and test ({error!r})") from None
    if not folds:
        raise SamlError(f"{path}: there is no fold; make the file again, or give it one")
    may_be_empty = ("test",) if untested and content.get("scheme") == UNTESTED else ()
    for index, fold in enumerate(folds):
        for part, ids in fold.items():
            if not ids and part not in may_be_empty:
                raise SamlError(f"{path}: fold {index} has nothing in its {part} part")
            for utterance in ids:
                if not isinstance(utterance, str) or utterance not in known:
                    raise SamlError(f"{path}: fold {index}: the speaker has no utterance {utterance!r}")
        _refuse_repetition([(u, part) for part in PARTS for u in fold[part]], f"{path}: fold {index}")
    _refuse_repetition(
        [(u, f"test of fold {index}") for index, fold in enumerate(folds) for u in fold["test"]], str(path)
    )
    return [Fold(**fold) for fold in folds]


def _refuse_repetition(uses: Iterable[tuple[str, str]], where: str) -> None:
    """Raise SamlError naming an utterance that has two of the `uses` (utterance, part), or one twice."""
    seen: dict[str, str] = {}
    for utterance, use in uses:
        if utterance in seen:
            twice = f"twice in {use}" if seen[utterance] == use else f"in {seen[utterance]} and {use}"
            raise SamlError(f"{where}: utterance {utterance!r} is {twice}")
        seen[utterance] = use
