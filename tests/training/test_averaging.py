"""What a training keeps: the best epoch, or the mean of several; and what it computes in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from saml.runtime.devices import uses_bfloat16
from saml.runtime.errors import SamlError
from saml.stages import train_base as base
from saml.tracking import RunRecord, read_record
from saml.training import task as tasks
from saml.training.task import Progression, Task
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM

State = dict[str, torch.Tensor]


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, State]]:
    """Filled while a base trains: dev loss and state after each of four epochs; the best two are averaged."""
    more = {"epochs": 4, "closing": {"epochs": 0, "learning_rate": 1e-3}, "average": 2, "learning_rate": 3e-3}
    monkeypatch.setitem(run.SETTINGS, "base_training", {**run.SETTINGS["base_training"], **more})
    seen: list[tuple[float, State]] = []
    judge = Progression.judge

    def judging(self: Progression, dev: dict[str, float], epoch: int) -> None:
        state = {name: tensor.clone() for name, tensor in self.task.get_state().items()}
        seen.append((dev["loss"], state))
        judge(self, dev, epoch)

    monkeypatch.setattr(Progression, "judge", judging)
    return seen


def test_the_mean_of_the_best_epochs(made: Path, epochs: list[tuple[float, State]]) -> None:
    run.train_base(made, "mean")
    first, second = (state for _, state in sorted(epochs, key=lambda each: each[0])[:2])
    saved = load_file(made / "mean.safetensors")
    assert len(epochs) == 4 and saved.keys() == first.keys()
    assert any(name.endswith("running_var") for name in saved)
    for name, tensor in saved.items():
        torch.testing.assert_close(tensor, (first[name] + second[name]) / 2)
        assert not torch.equal(tensor, first[name]) or torch.equal(first[name], second[name])
    scores = read_record(made / "mean.run.jsonl").scores
    assert scores["dev/averaged"] == 2 and scores["dev/loss"] not in [loss for loss, _ in epochs]


def test_icefall_may_compute_the_mean(made: Path, epochs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its function is asked for the very states; what it says is kept."""
    monkeypatch.setitem(run.SETTINGS["base_training"], "average_by", "icefall")
    asked: list[Any] = []

    def mean(states: list[State], setting: str) -> State:
        asked.append((len(states), setting))
        return states[1]

    with pytest.raises(SamlError, match=r"base_training\.average_by.* wants icefall"):
        run.train_base(made, "icefall")
    assert not epochs, "it is said before anything is trained"
    monkeypatch.setattr(base, "load", lambda *_: None)
    monkeypatch.setattr(tasks.icefall, "mean_state", mean)
    run.train_base(made, "icefall")
    assert asked == [(2, "base_training.average_by: icefall")]
    _, second = (state for _, state in sorted(epochs, key=lambda each: each[0])[:2])
    assert all(
        torch.equal(tensor, second[name]) for name, tensor in load_file(made / "icefall.safetensors").items()
    )


@pytest.mark.parametrize(
    ("select", "average", "best"),
    [("loss", 1, [2]), ("loss", 2, [2, 4]), ("accuracy", 1, [3]), ("accuracy", 2, [3, 5])],
)
def test_the_best_epochs_by_loss_or_accuracy_are_kept(select: str, average: int, best: list[int]) -> None:
    """The lowest loss, or the highest accuracy; of equal epochs the earlier is the better."""
    epoch = 0
    record = RunRecord(stage="adapt", experiment="test")
    task = Task(
        name="test",
        record=record,
        batches=lambda index: [],
        utterances=1,
        get_state=lambda: {"w": torch.tensor([float(epoch)])},
        set_state=lambda state: None,
        select=select,
        average=average,
    )
    progression = Progression(0, task)
    scores = zip([2.0, 1.0, 3.0, 1.0, 1.0], [0.1, 0.2, 0.9, 0.2, 0.5], strict=True)
    for epoch, (loss, accuracy) in enumerate(scores, start=1):
        progression.judge({"loss": loss, "accuracy": accuracy}, epoch)
    assert [each.dev["epoch"] for each in progression.kept] == best
    assert [each.state["w"].item() for each in progression.kept] == best


def test_bfloat16_trains(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Base and adapter: numbers are finite, nearly those of 32 bits, and weights stay in 32 bits."""
    for section in ("base_training", "adaptation"):
        monkeypatch.setitem(run.SETTINGS, section, {**run.SETTINGS[section], "precision": "bf16"})
    run.train_base(made, "half")
    run.adapt(made, "half-adapted", SAML_ARM, "saml")
    run.adapt(made, "adapted", SAML_ARM, "saml", settings=fp32_adaptation())
    for half, full in (("half", "base"), ("half-adapted", "adapted")):
        points, others = (read_record(made / f"{name}.run.jsonl").points for name in (half, full))
        losses, expected = ([p.value for p in each if p.name.endswith("loss")] for each in (points, others))
        assert losses == pytest.approx(expected, rel=0.05) and losses != expected
        for name, tensor in load_file(made / f"{half}.safetensors").items():
            assert tensor.dtype == torch.float32 and tensor.isfinite().all(), name


def fp32_adaptation() -> dict[str, Any]:
    chosen = run.settings("adapters", "adaptation", "partition", arm=SAML_ARM)
    return {**chosen, "adaptation": {**chosen["adaptation"], "precision": "fp32"}}


@pytest.mark.parametrize(
    ("precision", "gpu", "half"),
    [("fp32", True, False), ("bf16", False, True), ("auto", False, False), ("auto", True, True)],
)
def test_auto_waits_for_a_gpu(precision: str, gpu: bool, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    assert uses_bfloat16(precision) is half
