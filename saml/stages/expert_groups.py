"""Whose speech each expert of a mixture is initialised on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from lhotse import MonoCut

from saml.models.recogniser import Recogniser
from saml.runtime.errors import SamlError
from saml.stages.embed import mean_states


class Group(NamedTuple):
    """The training utterances of one expert, and whose they are."""

    speakers: list[str]
    cuts: list[MonoCut]


def by_initial_speaker(cuts: Sequence[MonoCut], chosen: Sequence[str] | None, experts: int) -> list[Group]:
    """One speaker for each expert: those `chosen`, or the first of the pool in its own order (SAML).

    Raises SamlError when their number is not that of the experts, or one has no utterances to train on.
    """
    own = _by_speaker(cuts)
    speakers = choose_speakers(own, chosen, experts)
    return [Group([speaker], own[speaker]) for speaker in speakers]


def by_cluster(cuts: Sequence[MonoCut], recogniser: Recogniser, experts: int, *, seed: int) -> list[Group]:
    """All speakers in clusters of similar voices, one cluster for each expert, the largest first.

    K-means of the speakers' mean encoder states, each of whose dimensions has variance 1 over the speakers.
    Raises SamlError where there are fewer speakers than experts.
    """
    # Imported here for start-up: scikit-learn takes two seconds, and other arms need none of it.
    from sklearn.cluster import KMeans

    own = _by_speaker(cuts)
    _refuse_too_few(own, experts)
    states = mean_states(recogniser, cuts)
    means = np.array([np.mean([states[cut.id] for cut in spoken], axis=0) for spoken in own.values()])
    scaled = (means - means.mean(axis=0)) / means.std(axis=0).clip(min=1e-8)
    labels = KMeans(experts, n_init=10, random_state=seed).fit_predict(scaled)
    groups = []
    for index in range(experts):
        speakers = [speaker for speaker, label in zip(own, labels, strict=True) if label == index]
        groups.append(Group(speakers, [cut for speaker in speakers for cut in own[speaker]]))
    return sorted(groups, key=lambda group: len(group.speakers), reverse=True)


def choose_speakers(trained_on: Iterable[str], chosen: Sequence[str] | None, experts: int) -> list[str]:
    """The initial speakers: those `chosen`, or the first of the speakers of the pool's training utterances.

    Raises SamlError as `by_initial_speaker` does.
    """
    present = list(dict.fromkeys(trained_on))
    if chosen is None:
        _refuse_too_few(present, experts)
    speakers = list(chosen) if chosen is not None else present[:experts]
    if len(speakers) != experts:
        raise SamlError(f"initial_speakers: {len(speakers)} for {experts} experts; give one for each")
    for speaker in speakers:
        if speaker not in present:
            raise SamlError(
                f"initial_speakers: {speaker!r} has no training utterance in the role pretrain; name a "
                "speaker of that role"
            )
    return speakers


def _refuse_too_few(present: Sequence[str] | Mapping[str, object], experts: int) -> None:
    if len(present) < experts:
        raise SamlError(
            f"role pretrain: {len(present)} speakers with training utterances are fewer than {experts} "
            "experts; give the role to more speakers, or lower `experts` of the arm"
        )


def _by_speaker(cuts: Sequence[MonoCut]) -> dict[str, list[MonoCut]]:
    """The utterances of each speaker, in the order of the pool."""
    own: dict[str, list[MonoCut]] = {}
    for cut in cuts:
        own.setdefault(cut.supervisions[0].speaker, []).append(cut)
    return own
