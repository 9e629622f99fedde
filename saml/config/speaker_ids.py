"""Speakers' ids in a configuration, in the form that corpora give them."""

from collections.abc import Iterator, Mapping
from typing import Any

from saml.config.roles import named_roles
from saml.runtime.text import plain_line


def plain_ids(config: Mapping[str, Any]) -> Iterator[str]:
    """Bring all ids of speakers to the form of `plain_line`, in place; yields ids that are then listed twice.

    An id that was copied from a file name, or typed with a typographic apostrophe, is the corpus's then. Ids
    with control characters stay, and are refused later.
    """
    for key, speakers in _lists(config).items():
        plain = [plain_line(speaker) if speaker.isprintable() else speaker for speaker in speakers]
        for speaker in plain:
            if plain.count(speaker) > 1:
                yield f"{key}: {speaker!r} is listed twice, in forms that look alike"
                break
        speakers[:] = plain


def _lists(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """All lists of speakers, by key."""
    own = config["corpus"].get(config["corpus"]["name"], {})
    lists = {
        "target_speakers": config["target_speakers"],
        "tuning.speakers": config["tuning"]["speakers"],
        "initial_speakers": config["initial_speakers"],
        f"corpus.{config['corpus']['name']}.reserved": own.get("reserved"),
        **(named_roles(config) if own else {}),
    }
    return {key: speakers for key, speakers in lists.items() if isinstance(speakers, list)}
