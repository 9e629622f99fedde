"""Checks of the roles of speakers, and what the configuration says about roles.

A folder corpus (and a corpus added by its example) lists the speakers of each role; LibriSpeech and TED-LIUM
name some speakers and draw others from parts of the corpus.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from saml.models.checkpoints.source import is_given

Config = Mapping[str, Any]

# Corpora that are published in parts, from which speakers are drawn.
IN_PARTS = ("librispeech", "tedlium3", "speechocean762")


def named_roles(config: Config) -> dict[str, Sequence[str]]:
    """The speakers that the configuration names, by the key that names them."""
    name, own = _own(config)
    roles = own["roles"] if "roles" in own else None  # spoken_commands and other added corpora have none
    if not isinstance(roles, Mapping):
        return {}
    if name in IN_PARTS:
        return {f"corpus.{name}.roles.{role}.named": entry["named"] for role, entry in roles.items()}
    return {
        f"corpus.{name}.roles.{role}": speakers
        for role, speakers in roles.items()
        if isinstance(speakers, list)
    }


def complete_pretrain(config: Config) -> dict[str, Sequence[str]]:
    """The speakers of `pretrain` by key, where the configuration names all of them; else an empty mapping."""
    name, own = _own(config)
    # An added corpus may have more speakers than its lists.
    if name != "folder" and not (name in IN_PARTS and own["roles"]["pretrain"]["drawn"] == 0):
        return {}
    return {key: speakers for key, speakers in named_roles(config).items() if "roles.pretrain" in key}


def pretrain_count(config: Config) -> tuple[int | None, str]:
    """The number of `pretrain` speakers and the key that decides it; None where only the corpus decides."""
    name, own = _own(config)
    if name in IN_PARTS:
        entry = own["roles"]["pretrain"]
        key = f"corpus.{name}.roles.pretrain"
        return (None, key) if entry["drawn"] is None else (len(entry["named"]) + entry["drawn"], key)
    for key, speakers in complete_pretrain(config).items():
        return len(speakers), key
    return None, ""


def drawn_roles(config: Config) -> Iterator[str]:
    """Where speakers are drawn: every role has speakers, and target and tuning speakers are never drawn."""
    name, own = _own(config)
    if name not in IN_PARTS:
        return
    roles, key = own["roles"], f"corpus.{name}"
    for role in needed_roles(config):
        if roles[role]["drawn"] == 0 and not roles[role]["named"]:
            yield f"{key}.roles.{role}: it needs speakers, named or drawn"
    for first, second in combinations(roles, 2):
        shared = _shared(own, first, second)
        if shared and roles[first]["drawn"] is None and roles[second]["drawn"] is None:
            yield f"{key}.roles.{second}.drawn: {first} takes all of {shared[0]} too; give one a number"
    for role, entry in roles.items():
        for speaker in entry["named"]:
            if speaker in own["reserved"]:
                yield f"{key}.roles.{role}.named: {speaker!r} is in {key}.reserved too"
    yield from _unreserved(config, name, own)


def _unreserved(config: Config, name: str, own: Mapping[str, Any]) -> Iterator[str]:
    """Target and tuning speakers that a role might draw, because they come from the same parts."""
    drawing = [role for role, entry in own["roles"].items() if entry["drawn"] != 0]
    shared = [part for role in drawing for part in _shared(own, "target", role)]
    if not shared:
        return
    for where, speakers in (
        ("target_speakers", listed_targets(config)),
        ("tuning.speakers", config["tuning"]["speakers"]),
    ):
        for speaker in speakers:
            if speaker not in own["reserved"]:
                yield (
                    f"corpus.{name}.reserved: {speaker!r} of {where} is missing, and {drawing[0]} draws from "
                    f"{shared[0]} too"
                )


def listed_targets(config: Config) -> list[str]:
    """The target speakers that are listed; none where all of a part are wanted."""
    wanted = config["target_speakers"]
    return wanted if isinstance(wanted, list) else []


def _shared(own: Mapping[str, Any], first: str, second: str) -> list[str]:
    """The parts that two roles have in common."""
    return [part for part in own["parts"][first] if part in own["parts"][second]]


def needed_roles(config: Config) -> list[str]:
    """The roles that need speakers: heldout; base where it is trained; pretrain for pre-trained arms."""
    arms = [config["arms"][name] for name in config["run_arms"] if name in config["arms"]]
    pretrained = any(arm["adapted"] and arm["pretrained"] for arm in arms)
    return ["heldout"] + ["base"] * (not is_given(config["model"])) + ["pretrain"] * pretrained


def _own(config: Config) -> tuple[str, Mapping[str, Any]]:
    """The name of the corpus and its own section."""
    name = config["corpus"]["name"]
    return name, config["corpus"][name]
