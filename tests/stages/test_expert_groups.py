"""Whose speech each expert is initialised on."""

from pathlib import Path

import pytest
from lhotse import CutSet, MonoCut

from saml.models.recogniser import Recogniser
from saml.runtime.errors import SamlError
from saml.stages import expert_groups
from saml.stages.expert_groups import by_cluster, by_initial_speaker
from tests.training.conftest import write_pool

# Mean states of three kinds of voices; the second dimension is the first, a thousand times smaller.
FIRST = {"a": 0.0, "b": 5.0, "c": 0.1, "d": 5.1, "e": 9.9, "f": 5.2}
STATES = {speaker: (value, value / 1000) for speaker, value in FIRST.items()}


@pytest.fixture
def cuts(tmp_path: Path) -> list[MonoCut]:
    return list(CutSet.from_file(write_pool(tmp_path / "pool", list(STATES), ["train"] * 2)))


def test_initial_speakers_are_those_named_or_the_first(cuts: list[MonoCut]) -> None:
    assert [group.speakers for group in by_initial_speaker(cuts, None, 2)] == [["a"], ["b"]]
    (group, _) = by_initial_speaker(cuts, ["e", "c"], 2)
    assert [cut.id for cut in group.cuts] == ["e-0", "e-1"]
    with pytest.raises(SamlError, match="1 for 2 experts"):
        by_initial_speaker(cuts, ["d"], 2)
    with pytest.raises(SamlError, match="'x' has no training utterance"):
        by_initial_speaker(cuts, ["d", "x"], 2)
    with pytest.raises(SamlError, match="6 speakers .* are fewer than 7 experts"):
        by_initial_speaker(cuts, None, 7)


def test_similar_voices_are_one_cluster_the_largest_first(
    cuts: list[MonoCut], monkeypatch: pytest.MonkeyPatch, recogniser: Recogniser
) -> None:
    monkeypatch.setattr(
        expert_groups,
        "mean_states",
        lambda recogniser, cuts: {cut.id: STATES[cut.supervisions[0].speaker] for cut in cuts},
    )
    groups = by_cluster(cuts, recogniser, 3, seed=1)
    assert [group.speakers for group in groups] == [["b", "d", "f"], ["a", "c"], ["e"]]
    assert [cut.id for cut in groups[1].cuts] == ["a-0", "a-1", "c-0", "c-1"]
    with pytest.raises(SamlError, match="are fewer than 7 experts"):
        by_cluster(cuts, recogniser, 7, seed=1)
