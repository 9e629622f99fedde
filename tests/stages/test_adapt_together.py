"""Adapting to several speakers in the same batches equals adapting to each alone, as written out naively."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from saml.tracking import read_record
from saml.training import engine
from tests.stages.conftest import ARMS, ENROLMENT, Project, only_conformer, write_folds
from tests.stages.naive_adaptation import Losses
from tests.training.conftest import batch_sizes

SMALL_STEPS = {"learning_rate": {"expert": 1e-3, "router": 1e-3}}


def trained_losses(monkeypatch: pytest.MonkeyPatch) -> dict[str, Losses]:
    """Filled with all losses that the engine trains on from now on, by speaker, in order."""
    seen: dict[str, Losses] = {}
    compute = engine.utterance_losses

    def watched(recogniser: Any, batch: Any, **options: Any) -> Any:
        found = compute(recogniser, batch, **options)
        if torch.is_grad_enabled():
            for utterance, loss in zip(batch.utterances, found.loss.tolist(), strict=True):
                seen.setdefault(utterance.partition("-")[0], []).append((utterance, loss))
        return found

    monkeypatch.setattr(engine, "utterance_losses", watched)
    return seen


def assert_same_losses(alone: Losses, together: Losses, train: int) -> None:
    """The same utterances in every epoch of `train`, and losses to 1e-5 in the first two."""
    assert len(alone) == len(together)
    for start in range(0, len(alone), train):
        # A batch of several speakers is sorted by length, so the utterances of a step may change places.
        ours, theirs = (sorted(each[start : start + train]) for each in (together, alone))
        assert [name for name, _ in ours] == [name for name, _ in theirs]
        if start <= train:
            values = (torch.tensor([loss for _, loss in each]) for each in (ours, theirs))
            torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)


def assert_same_adapter(folder: Path) -> None:
    theirs, ours = (load_file(folder / f"{way}.safetensors") for way in ("alone", "at_once"))
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        if name.endswith("attention.bias"):
            continue  # the softmax over time ignores it: its gradient is rounding, which Adam makes large
        torch.testing.assert_close(ours[name], tensor, atol=1e-3, rtol=1e-3, msg=name)
        assert (ours[name] - tensor).abs().mean() < 1e-4, name


def assert_same_scores(folder: Path, scores: list[dict[str, float]]) -> None:
    """The dev scores of the best epochs, and which these are."""
    record = read_record(folder / "at_once.run.jsonl")
    for index, expected in enumerate(scores):
        prefix = f"fold{index}/" if len(scores) > 1 else ""
        found = {name: record.scores[f"{prefix}dev/{name}"] for name in expected}
        assert found == pytest.approx(expected, rel=1e-4)
    assert [path.name for path in record.files] == ["at_once.safetensors", "at_once.json"]


@pytest.mark.parametrize("arm", ARMS)
def test_losses_adapters_and_scores(arm: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dropout, speakers who have 12, 20 and 24 steps: the first leaves when the last is halfway."""
    # Adam makes as much of a gradient that is rounding as of any other: small steps, so that it stays so.
    project.changes = SMALL_STEPS
    alone = project.alone(arm)
    together = trained_losses(monkeypatch)
    project.at_once(arm)
    for speaker, (train, _) in ENROLMENT.items():
        losses, scores = alone[speaker]
        assert len(together[speaker]) == 4 * train
        assert_same_losses(losses, together[speaker], train)
        assert_same_adapter(project.folder / speaker)
        assert_same_scores(project.folder / speaker, scores)


@pytest.mark.parametrize("arm", ["saml", "input"])
def test_steps_in_several_batches_of_like_length(
    arm: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much is computed at once changes nothing; routed by input, a speaker's rows stay together."""
    # Small steps, as above: rounding stays rounding.
    project.epochs, project.changes = 2, SMALL_STEPS
    alone = project.alone(arm)
    sizes = batch_sizes(monkeypatch, engine)
    monkeypatch.setattr(engine, "seconds_at_once", lambda device: 3.0)
    project.at_once(arm)
    assert max(sizes) < 6  # that many are in a step of all three
    for speaker in ENROLMENT:
        assert_same_adapter(project.folder / speaker)
        assert_same_scores(project.folder / speaker, alone[speaker][1])


@only_conformer()
@pytest.mark.parametrize(
    "changes",
    [{"interleaved": False, "select": "accuracy"}, {"frozen": "router"}, {"frozen": "expert"}],
    ids=["not interleaved", "routers frozen", "experts frozen"],
)
def test_other_ways_to_train(changes: dict[str, object], project: Project) -> None:
    project.epochs, project.changes = 2, changes
    alone = project.alone("saml")
    project.at_once("saml")
    for speaker in ENROLMENT:
        assert_same_adapter(project.folder / speaker)
        assert_same_scores(project.folder / speaker, alone[speaker][1])


@only_conformer()
def test_every_fold_has_an_adapter_of_its_own(project: Project) -> None:
    """Two folds of one speaker, beside another speaker."""
    ids = [f"t-{index}" for index in range(9)]
    folds = [
        {"train": ids[:5], "dev": ids[5:7], "test": ids[7:]},
        {"train": ids[4:], "dev": ids[:2], "test": ids[2:4]},
    ]
    write_folds(project.folder / "t", folds)
    project.epochs = 2
    alone = project.alone("saml", speakers=["t", "u"])
    project.at_once("saml", speakers=["t", "u"])
    for speaker in ("t", "u"):
        assert_same_adapter(project.folder / speaker)
        assert_same_scores(project.folder / speaker, alone[speaker][1])


@only_conformer()
def test_dropout_is_on_and_its_seed_decides(project: Project) -> None:
    project.epochs = 1
    project.at_once("pqm", dropout=0.0, way="without")
    for way in ("with", "again"):
        project.at_once("pqm", dropout=0.2, way=way)
    bytes_ = {
        way: (project.folder / f"t/{way}.safetensors").read_bytes() for way in ("without", "with", "again")
    }
    assert bytes_["with"] == bytes_["again"] != bytes_["without"]
