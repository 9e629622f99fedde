"""Roles of the speakers of a corpus with parts of its own: named in the config, or drawn with a seed.

Settings of the corpus's section:

    root      its folder, or null for an environment variable
    parts     role -> the parts of the corpus that contain its speakers
    roles     role -> {named: speakers, drawn: number of further speakers, or null for all remaining ones}
    reserved  speakers without a role, such as target speakers from the same parts
    seed      of the draws

No speaker has two roles. `heldout` draws first, then `pretrain`, then `base`; a role that takes all remaining
speakers is last. Each draw ranks the speakers by hashes of their ids, so that an additional speaker does not
change the others' roles.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from saml.corpora.listing import named_folder
from saml.corpora.sampling import ranked
from saml.corpora.utterance_checks import POOLS
from saml.runtime.errors import SamlError
from saml.runtime.paths import expand

_DRAWING_ORDER = ("heldout", "pretrain", "base")
SpeakersOf = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class AssignedSpeaker:
    """A speaker, the role, and the part of the corpus that contains the speech."""

    speaker: str
    role: str
    part: str


def assign_roles(
    corpus: str,
    settings: Mapping[str, Any],
    speakers_of: SpeakersOf,
    person: Callable[[str], str] = str,
) -> list[AssignedSpeaker]:
    """All speakers with a role: role by role, first the named in their order, then the drawn in the corpus's.

    Args:
        corpus: its name, for messages.
        settings: the corpus's own section.
        speakers_of: part -> its speakers. Only called for parts of roles that are in use.
        person: speaker -> person, for corpora in which one person can be several speakers; roles share no
            person.

    Raises:
        SamlError: a named speaker does not exist or has a role already, or too few remain to be drawn.
    """
    roles = {role: settings["roles"][role] for role in POOLS if _in_use(settings["roles"][role])}
    places = {role: _places(settings["parts"][role], speakers_of) for role in roles}
    taken = {person(speaker): "reserved" for speaker in settings["reserved"]}
    chosen: dict[str, list[str]] = {role: [] for role in roles}
    for role in roles:
        for speaker in roles[role]["named"]:
            if speaker not in places[role]:
                raise SamlError(
                    f"corpus.{corpus}.roles.{role}.named: {speaker} is not in "
                    f"{', '.join(settings['parts'][role])}; remove it, or add its part to "
                    f"corpus.{corpus}.parts.{role}"
                )
            other = taken.setdefault(person(speaker), role)
            if other != role:
                raise SamlError(
                    f"corpus.{corpus}.roles.{role}.named: {speaker} is in {other} too; remove one"
                )
            chosen[role].append(speaker)
    for role in sorted(roles, key=lambda role: (roles[role]["drawn"] is None, _DRAWING_ORDER.index(role))):
        drawn = _draw(corpus, settings, role, list(places[role]), taken, person)
        taken.update({person(speaker): role for speaker in drawn})
        chosen[role] += drawn
    return [
        AssignedSpeaker(speaker, role, places[role][speaker]) for role in roles for speaker in chosen[role]
    ]


def part_of_target(corpus: str, settings: Mapping[str, Any], speaker: str, speakers_of: SpeakersOf) -> str:
    """The first part for target speakers that contains the speaker. Raises SamlError when none does."""
    parts = settings["parts"]["target"]
    others: list[str] = []
    for part in parts:
        found = speakers_of(part)
        if speaker in found:
            return str(part)
        others += found
    alike = get_close_matches(speaker, others) or others[:5]
    raise SamlError(
        f"speaker {speaker} is not in {', '.join(parts)} of the corpus; correct target_speakers (or "
        f"tuning.speakers), for example with {', '.join(alike)}, or add the speaker's part to "
        f"corpus.{corpus}.parts.target"
    )


def corpus_folder(
    corpus: str, settings: Mapping[str, Any], *, variable: str, archive: str, advice: str
) -> Path:
    """The folder of the corpus: the config's `root`, else the value of the environment variable `variable`.

    Both may name the folder inside the corpus's archives, `archive`, or its parent, with `~` and environment
    variables. Raises SamlError, with `advice` on how to get the corpus, when there is no such folder.
    """
    named, key = named_folder(settings, f"corpus.{corpus}.root", variable)
    remedy = f"set corpus.{corpus}.root or {variable} to the folder {archive}; to get it: {advice}"
    if not named:
        raise SamlError(f"corpus {corpus}: no folder is configured; {remedy}")
    root = Path(expand(named, key))
    if not root.is_dir():
        raise SamlError(f"corpus {corpus}: {root} is not a folder; {remedy}")
    return root / archive if (root / archive).is_dir() else root


def _in_use(role: Mapping[str, Any]) -> bool:
    return bool(role["named"]) or role["drawn"] != 0


def _places(parts: Sequence[str], speakers_of: SpeakersOf) -> dict[str, str]:
    """Speaker -> the first part that contains the speaker, in the order of the parts."""
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
    """The speakers that a role draws from those without a role, in the order of `speakers`."""
    wanted = settings["roles"][role]["drawn"]
    if wanted == 0:
        return []
    left = [speaker for speaker in speakers if person(speaker) not in taken]
    if not left or (wanted or 0) > len(left):
        raise SamlError(
            f"corpus.{corpus}.roles.{role}.drawn: {wanted or 'all'} are needed, and {len(left)} remain in "
            f"{', '.join(settings['parts'][role])}; reduce it, or that of another role"
        )
    if wanted is None:
        return left
    drawn = set(ranked(left, settings["seed"], "role", role)[:wanted])
    return [speaker for speaker in left if speaker in drawn]
