"""What `saml doctor` looks at in a corpus that comes in parts: LibriSpeech, TED-LIUM 3."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from saml.doctor.machine import Line


def corpus_in_parts(config: Mapping[str, Any]) -> Iterator[Line]:
    """The roles as they will be assigned, and whether everybody who is adapted to is there.

    Raises SamlError, which says what to do, where the corpus or a part of it is not there.
    """
    from saml.corpora import librispeech, tedlium3
    from saml.corpora.people import person
    from saml.corpora.role_assignment import assign_roles, part_of_target

    name = config["corpus"]["name"]
    own = config["corpus"][name]

    @cache
    def speakers_of(part: str) -> Sequence[str]:
        if name == "librispeech":
            return librispeech.speakers(root, part)
        return tedlium3.talks(root, own, part)

    root = (librispeech if name == "librispeech" else tedlium3).root_folder(own)
    who = person if name == "tedlium3" else str
    members = assign_roles(name, own, speakers_of, who)
    for speaker in [*config["target_speakers"], *config["tuning"]["speakers"]]:
        part_of_target(name, own, speaker, speakers_of)
    counts: dict[str, int] = {}
    for member in members:
        counts[member.role] = counts.get(member.role, 0) + 1
    roles = ", ".join(f"{count} {role}" for role, count in counts.items())
    yield Line(
        "ok", "corpus", f"speakers: {roles}, {len(config['target_speakers'])} target; recordings in {root}"
    )
    pretrain = {member.speaker for member in members if member.role == "pretrain"}
    for speaker in config["initial_speakers"] or []:
        if speaker not in pretrain:
            advice = f"name it in corpus.{name}.roles.pretrain.named"
            yield Line(
                "fail", "corpus", f"initial speaker {speaker!r} does not have the role pretrain", advice
            )
