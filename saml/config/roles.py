"""What a JSON schema cannot say about who of a corpus has which role.

A folder corpus (and one that is added, by its example) lists speakers by role; LibriSpeech and TED-LIUM name
some and have others drawn from their parts.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from saml.models.checkpoints.source import is_given

Config = Mapping[str, Any]

# Corpora that come in parts of their own.
IN_PARTS = ("librispeech", "tedlium3")


def named_roles(config: Config) -> dict[str, Sequence[str]]:
    """The speakers whom the configuration names in a role, by key."""
    name, own = _own(config)
    roles = own.get("roles")
    if not isinstance(roles, Mapping):
        return {}
    if name in IN_PARTS:
        return {f"corpus.{name}.roles.{role}.named": who["named"] for role, who in roles.items()}
    # A folder, and a corpus that somebody adds with such lists.
    return {
        f"corpus.{name}.roles.{role}": speakers
        for role, speakers in roles.items()
        if isinstance(speakers, list)
    }


def complete_pretrain(config: Config) -> dict[str, Sequence[str]]:
    """The speakers of `pretrain`, by key, where the configuration names all of them; else nothing."""
    name, own = _own(config)
    # A corpus that is added may know more than its lists say.
    if name != "folder" and not (name in IN_PARTS and own and own["roles"]["pretrain"]["drawn"] == 0):
        return {}
    return {key: who for key, who in named_roles(config).items() if "roles.pretrain" in key}


def pretrain_count(config: Config) -> tuple[int | None, str]:
    """How many speakers of `pretrain` there will be, by which key; None if only the corpus knows."""
    name, own = _own(config)
    if name in IN_PARTS and own:
        who = own["roles"]["pretrain"]
        key = f"corpus.{name}.roles.pretrain"
        return (None, key) if who["drawn"] is None else (len(who["named"]) + who["drawn"], key)
    for key, speakers in complete_pretrain(config).items():
        return len(speakers), key
    return None, ""


def drawn_roles(config: Config) -> Iterator[str]:
    """Where speakers are drawn, nobody may be drawn who is adapted to, and each role has somebody."""
    name, own = _own(config)
    if name not in IN_PARTS or not own:
        return
    roles, key = own["roles"], f"corpus.{name}"
    for role in _needed(config):
        if roles[role]["drawn"] == 0 and not roles[role]["named"]:
            yield f"{key}.roles.{role}: it needs somebody, named or drawn"
    for first, second in combinations(roles, 2):
        shared = _shared(own, first, second)
        if shared and roles[first]["drawn"] is None and roles[second]["drawn"] is None:
            yield f"{key}.roles.{second}.drawn: {first} takes all of {shared[0]} too; give one a number"
    for role, who in roles.items():
        for speaker in who["named"]:
            if speaker in own["reserved"]:
                yield f"{key}.roles.{role}.named: {speaker!r} stands in {key}.reserved too"
    yield from _unreserved(config, name, own)


def _unreserved(config: Config, name: str, own: Mapping[str, Any]) -> Iterator[str]:
    """Speakers who are adapted to and might be drawn, because they come from the same parts."""
    drawing = [role for role, who in own["roles"].items() if who["drawn"] != 0]
    shared = [part for role in drawing for part in _shared(own, "target", role)]
    if not shared:
        return
    for where, speakers in (
        ("target_speakers", config["target_speakers"]),
        ("tuning.speakers", config["tuning"]["speakers"]),
    ):
        for speaker in speakers:
            if speaker not in own["reserved"]:
                yield (
                    f"corpus.{name}.reserved: {speaker!r} of {where} is missing, and {drawing[0]} draws from "
                    f"{shared[0]} too"
                )


def _shared(own: Mapping[str, Any], first: str, second: str) -> list[str]:
    """The parts that two roles have in common."""
    return [part for part in own["parts"][first] if part in own["parts"][second]]


def _needed(config: Config) -> list[str]:
    """The roles that the experiment cannot do without."""
    arms = [config["arms"].get(name, {}) for name in config["run_arms"]]
    pretrained = any(arm.get("adapted") and arm.get("pretrained") for arm in arms)
    return ["heldout"] + ["base"] * (not is_given(config["model"])) + ["pretrain"] * pretrained


def _own(config: Config) -> tuple[str, Mapping[str, Any]]:
    """The name of the corpus and its own section."""
    name = config["corpus"]["name"]
    return name, config["corpus"].get(name, {})
