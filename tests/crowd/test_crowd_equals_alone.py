"""What comes of a speaker in a crowd is what comes of adapting alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from saml.crowd import loop as crowd_loop
from saml.tracking import read_record
from saml.training import engine as loop_of_one
from saml.training import parts
from tests.crowd.conftest import ARMS, ENROLMENT, Project, only_conformer, write_folds
from tests.training.conftest import batch_sizes

# Of each speaker, utterances in the order in which they were trained on, with their losses.
Losses = dict[str, list[tuple[str, float]]]


@contextmanager
def trained_losses(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> Iterator[Losses]:
    """All losses that a loop trains on."""
    seen: Losses = {}
    compute = module.utterance_losses

    def watched(recogniser, batch, **options):
        found = compute(recogniser, batch, **options)
        if torch.is_grad_enabled():
            # In order of their names: a batch of several speakers is sorted by length.
            for utterance, loss in sorted(zip(batch.utterances, found.loss.tolist(), strict=True)):
                seen.setdefault(utterance.partition("-")[0], []).append((utterance, loss))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(module, "utterance_losses", watched)
        yield seen


def assert_same_losses(alone: Losses, at_once: Losses, steps: int) -> None:
    """To 1e-5 in the first steps, of two utterances at most, and the same utterances throughout."""
    assert alone.keys() == at_once.keys()
    for speaker, losses in alone.items():
        assert [name for name, _ in losses] == [name for name, _ in at_once[speaker]]
        ours, theirs = (torch.tensor([loss for _, loss in each]) for each in (at_once[speaker], losses))
        torch.testing.assert_close(ours[: 2 * steps], theirs[: 2 * steps], atol=1e-5, rtol=1e-5)


def assert_same_adapter(folder: Path, ways: tuple[str, str] = ("alone", "at_once")) -> None:
    theirs, ours = (load_file(folder / f"{way}.safetensors") for way in ways)
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        if name.endswith("attention.bias"):
            continue  # the softmax over time ignores it: its gradient is rounding, which Adam makes large
        torch.testing.assert_close(ours[name], tensor, atol=1e-3, rtol=1e-3, msg=name)
        assert (ours[name] - tensor).abs().mean() < 1e-4, name


def assert_same_record(folder: Path) -> None:
    theirs, ours = (read_record(folder / f"{way}.run.jsonl") for way in ("alone", "at_once"))
    for name in ("stage", "experiment", "arm", "speaker", "seed", "settings", "family", "sizes"):
        assert getattr(theirs, name) == getattr(ours, name)
    assert ours.scores == pytest.approx(theirs.scores, rel=1e-4)  # the best epoch among them
    curves = [sorted((point.name, point.step) for point in record.points) for record in (theirs, ours)]
    assert curves[0] == curves[1]
    assert [path.name for path in ours.files] == ["at_once.safetensors", "at_once.json"]


@pytest.mark.parametrize("arm", ARMS)
def test_losses_adapters_and_records(arm: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dropout, speakers who have 12, 20 and 24 steps: the first leaves when the last is halfway."""
    # Adam makes as much of a gradient that is rounding as of any other: small steps, so that it stays so.
    project.changes = {"learning_rate": {"expert": 1e-3, "router": 1e-3}}
    with trained_losses(monkeypatch, loop_of_one) as alone:
        project.alone(arm)
    with trained_losses(monkeypatch, crowd_loop) as at_once:
        project.at_once(arm)
    assert {speaker: len(losses) for speaker, losses in at_once.items()} == {
        speaker: 4 * train for speaker, (train, _) in ENROLMENT.items()
    }
    assert_same_losses(alone, at_once, steps=20)
    for speaker in ENROLMENT:
        folder = project.folder / speaker
        assert_same_adapter(folder)
        assert_same_record(folder)
        theirs, ours = (json.loads((folder / f"{way}.json").read_text()) for way in ("alone", "at_once"))
        assert {**theirs, "sha256": 0} == {**ours, "sha256": 0}


@pytest.mark.parametrize("arm", ["saml", "input"])
def test_steps_in_several_batches_of_like_length(
    arm: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is computed at once decides nothing; routed by its input, a speaker's utterances stay together."""
    # Small steps, as above: rounding stays rounding.
    project.epochs, project.changes = 2, {"learning_rate": {"expert": 1e-3, "router": 1e-3}}
    project.alone(arm)
    sizes = batch_sizes(monkeypatch, crowd_loop)
    monkeypatch.setattr(parts, "_SECONDS_AT_ONCE", {"cpu": 3.0, "cuda": 3.0})
    project.at_once(arm)
    assert max(sizes) < 6  # that many are in a step of all three
    for speaker in ENROLMENT:
        assert_same_adapter(project.folder / speaker)
        assert_same_record(project.folder / speaker)


@only_conformer()
@pytest.mark.parametrize(
    "changes",
    [{"interleaved": False, "select": "accuracy"}, {"frozen": "router"}, {"frozen": "expert"}],
    ids=["not interleaved", "routers frozen", "experts frozen"],
)
def test_other_ways_to_train(changes: dict[str, object], project: Project) -> None:
    project.epochs, project.changes = 2, changes
    project.alone("saml")
    project.at_once("saml")
    for speaker in ENROLMENT:
        assert_same_adapter(project.folder / speaker)
        assert_same_record(project.folder / speaker)


@only_conformer()
def test_folds_are_members_of_their_own(project: Project) -> None:
    """Two folds of one speaker, beside another speaker."""
    ids = [f"t-{index}" for index in range(9)]
    folds = [
        {"train": ids[:5], "dev": ids[5:7], "test": ids[7:]},
        {"train": ids[4:], "dev": ids[:2], "test": ids[2:4]},
    ]
    write_folds(project.folder / "t", folds)
    project.epochs = 2
    project.alone("saml", speakers=["t", "u"])
    project.at_once("saml", speakers=["t", "u"])
    for speaker in ("t", "u"):
        assert_same_adapter(project.folder / speaker)
        assert_same_record(project.folder / speaker)


@only_conformer()
def test_dropout_is_on_and_at_random_in_a_crowd(project: Project) -> None:
    project.epochs = 1
    project.at_once("pqm", dropout=0.0, way="without")
    for way in ("with", "again"):
        project.at_once("pqm", dropout=0.2, way=way)
    bytes_ = {
        way: (project.folder / f"t/{way}.safetensors").read_bytes() for way in ("without", "with", "again")
    }
    assert bytes_["with"] == bytes_["again"] != bytes_["without"]
