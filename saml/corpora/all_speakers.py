"""Target speakers that are named by their part of a corpus: `target_speakers: {all_of: [test]}`."""

from collections.abc import Mapping
from typing import Any

from saml.corpora.registry import corpus
from saml.runtime.errors import SamlError


def all_speakers(config: Mapping[str, Any]) -> list[str]:
    """The speakers of the parts in `target_speakers.all_of` of a valid configuration, part by part.

    Tuning speakers, and those that the config names for another role, are left out.

    Raises:
        SamlError: the corpus is not made of parts, or a part is missing.
    """
    name = config["corpus"]["name"]
    module, own = corpus(name), config["corpus"][name]
    if not hasattr(module, "speakers_of"):
        raise SamlError(f"config: target_speakers.all_of: the corpus {name} has no parts; list the speakers")
    others = set(config["tuning"]["speakers"])
    others |= {speaker for role in own["roles"].values() for speaker in role["named"]}
    found = [
        speaker for part in config["target_speakers"]["all_of"] for speaker in module.speakers_of(own, part)
    ]
    return [speaker for speaker in found if speaker not in others]
