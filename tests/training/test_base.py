"""Phases of base training: which speech each hears."""

from types import SimpleNamespace
from typing import Any

import pytest

from saml.runtime.errors import SamlError
from saml.stages.train_base import _phases

HOW: dict[str, Any] = {
    "epochs": 3,
    "learning_rate": 1e-3,
    "opening": {"epochs": 2, "learning_rate": 2e-3},
    "closing": {"epochs": 1, "learning_rate": 5e-4},
}


def pool(*kinds: str | None) -> Any:
    """Stands for Examples: a train part of utterances made as `kinds` say, None being recorded speech."""
    cuts = [
        SimpleNamespace(supervisions=[SimpleNamespace(custom={"synthetic": kind} if kind else {})])
        for kind in kinds
    ]
    return SimpleNamespace(part=lambda name: cuts)


def test_phases_and_their_speech() -> None:
    phases = _phases(pool("commands", None, "transcripts"), HOW)
    heard = [
        (
            name,
            [cut.supervisions[0].custom.get("synthetic") for cut in speech],
            how["epochs"],
            how["learning_rate"],
        )
        for name, speech, how in phases
    ]
    assert heard == [
        ("opening", ["commands"], 2, 2e-3),
        ("main", [None, "transcripts"], 3, 1e-3),
        ("closing", [None], 1, 5e-4),
    ]


def test_phases_without_epochs_are_left_out() -> None:
    none = {"epochs": 0, "learning_rate": 1e-3}
    phases = _phases(pool(None), {**HOW, "opening": none, "closing": none})
    assert [name for name, *_ in phases] == ["main"]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ((None,), "base_training.opening: the pool has no commands"),
        (("commands", "transcripts"), "base_training.closing"),
    ],
)
def test_phases_without_speech_are_refused(kinds: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(SamlError, match=message):
        _phases(pool(*kinds), HOW)
