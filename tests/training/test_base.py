"""Base training: the speech, epochs and learning rate of each phase, and the settings of its trainings."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from saml.config.settings import BaseTrainingSettings, PhaseSettings, typed
from saml.runtime.errors import SamlError
from saml.stages import train_base as stage
from saml.stages.train_base import phases
from saml.training.data import Batch
from saml.training.engine import Training
from saml.training.task import Progression
from tests.training.conftest import SETTINGS, train_base, write_pool

HOW = replace(
    typed(BaseTrainingSettings, SETTINGS),
    epochs=3,
    learning_rate=1e-3,
    opening=PhaseSettings(epochs=2, learning_rate=2e-3),
    closing=PhaseSettings(epochs=1, learning_rate=5e-4),
)


def pool(*kinds: str | None) -> Any:
    """In place of Examples: a train part with one utterance of each kind, None being recorded speech."""
    cuts = [
        SimpleNamespace(supervisions=[SimpleNamespace(custom={"synthetic": kind} if kind else {})])
        for kind in kinds
    ]
    return SimpleNamespace(part=lambda name: cuts)


def test_phases_and_their_speech() -> None:
    found = [
        (
            phase.name,
            [cut.supervisions[0].custom.get("synthetic") for cut in phase.speech],
            phase.epochs,
            phase.learning_rate,
        )
        for phase in phases(pool("commands", None, "transcripts"), HOW)
    ]
    assert found == [
        ("opening", ["commands"], 2, 2e-3),
        ("main", [None, "transcripts"], 3, 1e-3),
        ("closing", [None], 1, 5e-4),
    ]


def test_phases_without_epochs_are_left_out() -> None:
    none = PhaseSettings(epochs=0, learning_rate=1e-3)
    found = phases(pool(None), replace(HOW, opening=none, closing=none))
    assert [phase.name for phase in found] == ["main"]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ((None,), "base_training.opening: the pool has no commands"),
        (("commands", "transcripts"), "base_training.closing"),
    ],
)
def test_phases_without_speech_are_refused(kinds: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(SamlError, match=message):
        phases(pool(*kinds), HOW)


def test_settings_reach_the_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting with a value that is no default, in both phases of this pool."""
    how = SETTINGS["base_training"] | {
        "average": 3,
        "average_by": "icefall",
        "learning_rate": 0.5,
        "warm_up_share": 0.25,
        "schedule": "inverse_sqrt",
        "weight_decay": 0.125,
        "ctc_weight": 0.75,
        "ctc_backend": "k2",
        "label_smoothing": 0.625,
        "clip_norm": 7.0,
        "select": "accuracy",
        "closing": {"epochs": 1, "learning_rate": 0.0625},
        "time_stretch": [2.0, 2.0],
        "spec_augment": dict.fromkeys(("time_masks", "time_width", "frequency_masks", "frequency_width"), 0),
        "precision": "bf16",
    }
    write_pool(tmp_path / "base", ["a", "b", "c"], ["train"] * 4 + ["dev"])
    trainings: list[Training] = []
    updates: list[dict[str, Any]] = []

    def note(self: Training, *_: Any) -> list[Progression]:
        trainings.append(self)
        return [Progression(0, self.tasks[0])]

    monkeypatch.setattr(stage, "load", lambda *_: None)
    monkeypatch.setattr(Training, "run", note)
    monkeypatch.setattr(stage, "WarmUpUpdates", lambda parameters, **settings: updates.append(settings))
    train_base(tmp_path, "x", settings={"model": SETTINGS["model"], "base_training": how})
    names = [training.name for training in trainings]
    assert names == [f"training the base model ({name})" for name in ("main", "closing")]
    tasks = [training.tasks[0] for training in trainings]
    assert [(task.initial_counts, task.utterances) for task in tasks] == [(False, 2 * 12), (True, 12)]
    for training, settings, rate in zip(trainings, updates, (0.5, 0.0625), strict=True):
        (task,) = training.tasks
        epochs = task.utterances // 12
        steps = sum(len(task.batches(index)) for index in range(epochs))
        assert steps > 3 * epochs, "batches of at most 4 seconds; the pool has about 11"
        assert settings == {
            "steps": steps,
            "schedule": "inverse_sqrt",
            "learning_rate": rate,
            "weight_decay": 0.125,
            "warm_up_share": 0.25,
            "clip_norm": 7.0,
        }
        assert (task.average, task.average_by, task.select) == (3, "icefall", "accuracy")
        assert (training.ctc_weight, training.ctc_backend) == (0.75, "k2")
        assert (training.label_smoothing, training.bfloat16) == (0.625, True)
        ones = torch.ones(1, 10, 80)
        batch = Batch(["u"], ones, torch.tensor([10]), *[torch.zeros(1, 1, dtype=torch.long)] * 2)
        assert training.augment(batch).features.shape == (1, 20, 80)  # stretched by 2, and nothing is masked
        assert training.augment(batch).features.eq(1).all()
