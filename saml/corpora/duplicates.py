"""Recordings that are listed twice. Identity is that of the samples, whatever the name, container or id."""

import sys
from collections.abc import Iterable, Mapping, Sequence

# More are counted, not listed.
_LISTED = 5


def identical(checksums: Mapping[str, str]) -> list[list[str]]:
    """Groups of at least two utterances with the same checksum, sorted; "" is no checksum."""
    groups: dict[str, list[str]] = {}
    for utterance in sorted(checksums):
        if checksums[utterance]:
            groups.setdefault(checksums[utterance], []).append(utterance)
    return [group for group in groups.values() if len(group) > 1]


def report_identical(groups: Sequence[Sequence[str]], speakers: Mapping[str, str], then: str) -> None:
    """Name the groups in the log. `then` says what is done about them."""
    for group in groups[:_LISTED]:
        named = ", ".join(f"{utterance} ({speakers[utterance]})" for utterance in group)
        print(f"the same recording under {len(group)} ids: {named}; {then}", file=sys.stderr, flush=True)
    if len(groups) > _LISTED:
        rest = len(groups) - _LISTED
        print(f"... and {rest} further recordings under several ids; {then}", file=sys.stderr, flush=True)


def first_of_each(utterances: Iterable[str], groups: Iterable[Sequence[str]]) -> dict[str, str]:
    """Utterance -> the first of its group that is among `utterances`; itself where it has no copy."""
    present = set(utterances)
    first = {utterance: utterance for utterance in present}
    for group in groups:
        here = [utterance for utterance in group if utterance in present]
        first |= dict.fromkeys(here, next(iter(here), ""))
    return first
