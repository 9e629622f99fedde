"""Checks of corpora that are published in parts, for `saml doctor`: LibriSpeech and TED-LIUM 3."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from saml.doctor.machine import Line


def corpus_in_parts(config: Mapping[str, Any]) -> Iterator[Line]:
    """The number of speakers of each role, and whether all target, tuning and initial speakers are there.

    Raises SamlError, with advice, where the corpus, a part or a speaker is missing.
    """
    # Imported here like all libraries that a broken installation may lack: see `saml.doctor.machine`.
    from saml.corpora import librispeech, tedlium3
    from saml.corpora.role_assignment import assign_roles, part_of_target
    from saml.corpora.talks import person

    name = config["corpus"]["name"]
    own = config["corpus"][name]
    root = (librispeech if name == "librispeech" else tedlium3).root_folder(own)

    @cache
    def speakers_of(part: str) -> Sequence[str]:
        return librispeech.speakers(root, part) if name == "librispeech" else tedlium3.talks(root, own, part)

    assigned = assign_roles(name, own, speakers_of, person if name == "tedlium3" else str)
    for speaker in [*config["target_speakers"], *config["tuning"]["speakers"]]:
        part_of_target(name, own, speaker, speakers_of)
    counts = Counter(one.role for one in assigned) + Counter(target=len(config["target_speakers"]))
    roles = ", ".join(f"{count} {role}" for role, count in counts.items())
    yield Line("ok", "corpus", f"speakers: {roles}; recordings in {root}")
    pretrain = {one.speaker for one in assigned if one.role == "pretrain"}
    for speaker in config["initial_speakers"] or []:
        if speaker not in pretrain:
            advice = f"name it in corpus.{name}.roles.pretrain.named"
            finding = f"initial speaker {speaker!r} does not have the role pretrain"
            yield Line("fail", "corpus", finding, advice)
