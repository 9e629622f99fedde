"""Who in a corpus with parts of its own has which role: named in the config, or drawn by a seed.

Of the corpus's section this reads

    root      its folder, or null for an environment variable
    parts     role -> the parts of the corpus that its speakers come from
    roles     role -> {named: speakers, drawn: how many more, or null for all who are left}
    reserved  speakers who have no role: whoever is adapted to, where these come from the same parts
    seed      of the draws

Nobody has two roles. `heldout` draws first, then `pretrain`, then `base`; whoever takes all who are left
does so last. Each draw ranks the speakers by hashes of their ids, so that one speaker more leaves the others
where they are.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from saml.corpora.seeded import ranked
from saml.corpora.utterance_checks import POOLS
from saml.runtime.errors import SamlError

_DRAWING_ORDER = ("heldout", "pretrain", "base")
SpeakersOf = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Member:
    """A speaker, the role, and the part of the corpus where the speech is."""

    speaker: str
    role: str
    part: str


def assign_roles(
    corpus: str,
    settings: Mapping[str, Any],
    speakers_of: SpeakersOf,
    person: Callable[[str], str] = str,
) -> list[Member]:
    """Everybody who has a role: role by role, the named in their order and then the drawn in the corpus's.

    Args:
        corpus: its name, for messages.
        settings: the corpus's own section.
        speakers_of: part -> its speakers. Only asked for parts of roles that somebody has.
        person: speaker -> who it is, where one person can be several speakers; roles share no person.

    Raises:
        SamlError: a named speaker is not there or has a role already, or fewer are left than should be drawn.
    """
    roles = {role: settings["roles"][role] for role in POOLS if _has_somebody(settings["roles"][role])}
    places = {role: _places(settings["parts"][role], speakers_of) for role in roles}
    taken = {person(speaker): "reserved" for speaker in settings["reserved"]}
    chosen: dict[str, list[str]] = {role: [] for role in roles}
    for role in roles:
        for speaker in roles[role]["named"]:
            if speaker not in places[role]:
                raise SamlError(
                    f"corpus.{corpus}.roles.{role}.named: {speaker} is not in "
                    f"{', '.join(settings['parts'][role])}; take it out, or add its part to "
                    f"corpus.{corpus}.parts.{role}"
                )
            other = taken.setdefault(person(speaker), role)
            if other != role:
                raise SamlError(
                    f"corpus.{corpus}.roles.{role}.named: {speaker} is in {other} too; take one out"
                )
            chosen[role].append(speaker)
    for role in sorted(roles, key=lambda role: (roles[role]["drawn"] is None, _DRAWING_ORDER.index(role))):
        drawn = _draw(corpus, settings, role, list(places[role]), taken, person)
        taken.update({person(speaker): role for speaker in drawn})
        chosen[role] += drawn
    return [Member(speaker, role, places[role][speaker]) for role in roles for speaker in chosen[role]]


def part_of_target(corpus: str, settings: Mapping[str, Any], speaker: str, speakers_of: SpeakersOf) -> str:
    """The first of the parts for target speakers that has this one. Raises SamlError where none has."""
    parts = settings["parts"]["target"]
    others: list[str] = []
    for part in parts:
        found = speakers_of(part)
        if speaker in found:
            return str(part)
        others += found
    alike = get_close_matches(speaker, others) or others[:5]
    raise SamlError(
        f"speaker {speaker} is not in {', '.join(parts)} of the corpus; mend target_speakers (or "
        f"tuning.speakers), for example with {', '.join(alike)}, or add the speaker's part to "
        f"corpus.{corpus}.parts.target"
    )


def corpus_folder(
    corpus: str, settings: Mapping[str, Any], *, variable: str, archive: str, advice: str
) -> Path:
    """Where the corpus is: the config's `root`, else what the environment's `variable` names.

    Both may name the folder that the corpus's archives unpack to, `archive`, or the one that holds it. Raises
    SamlError, with `advice` on how to come by the corpus, where there is no such folder.
    """
    named = settings["root"] or os.environ.get(variable)
    mend = f"point corpus.{corpus}.root or {variable} to the folder {archive}; to get it: {advice}"
    if not named:
        raise SamlError(f"corpus {corpus}: no folder is named; {mend}")
    root = Path(named)
    if not root.is_dir():
        raise SamlError(f"corpus {corpus}: {root} is no folder; {mend}")
    return root / archive if (root / archive).is_dir() else root


def _has_somebody(role: Mapping[str, Any]) -> bool:
    return bool(role["named"]) or role["drawn"] != 0


def _places(parts: Sequence[str], speakers_of: SpeakersOf) -> dict[str, str]:
    """Speaker -> the first of the parts that has the speaker, in the order of the parts."""
    places: dict[str, str] = {}
    for part in parts:
        for speaker in speakers_of(part):
            places.setdefault(speaker, part)
    return places


def _draw(
    corpus: str,
    settings: Mapping[str, Any],
    role: str,
    speakers: Sequence[str],
    taken: Mapping[str, str],
    person: Callable[[str], str],
) -> list[str]:
    """The speakers that a role draws of those who are not taken, in the order of `speakers`."""
    wanted = settings["roles"][role]["drawn"]
    if wanted == 0:
        return []
    left = [speaker for speaker in speakers if person(speaker) not in taken]
    if not left or (wanted or 0) > len(left):
        raise SamlError(
            f"corpus.{corpus}.roles.{role}.drawn: {wanted or 'all'} are wanted, and {len(left)} are left of "
            f"{', '.join(settings['parts'][role])}; lower it, or that of another role"
        )
    if wanted is None:
        return left
    drawn = set(ranked(left, settings["seed"], "role", role)[:wanted])
    return [speaker for speaker in left if speaker in drawn]
