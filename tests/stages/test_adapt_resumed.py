"""Adaptation to several speakers that is interrupted, or diverges for one of them."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from lhotse import MonoCut

from saml.features.store import load_features
from saml.runtime.errors import Diverged, SamlError
from saml.training import data as examples
from saml.training.engine import Training
from tests.stages.conftest import Project, only_conformer
from tests.stages.test_adapt_together import assert_same_adapter

pytestmark = only_conformer()


@pytest.mark.parametrize("seconds", [0.0, float("inf")], ids=["every step", "every epoch"])
def test_interrupted_and_resumed_gives_the_same_bytes(
    seconds: float, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped when one has left, one is in its second epoch and one in its third; dropout is on."""
    project.epochs = 3
    project.at_once("saml", dropout=0.2, way="whole")
    work = project.folder / "work"
    step = Training.step
    left = 11

    def interrupted(self: Training, parts: Any) -> float:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return step(self, parts)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            project.at_once("saml", dropout=0.2, way="parts", work=work, checkpoint_seconds=seconds)
    assert list(work.rglob("checkpoint.pt")) and not (project.folder / "u/parts.safetensors").exists()
    capsys.readouterr()
    project.at_once("saml", dropout=0.2, way="parts", work=work, checkpoint_seconds=seconds)
    assert "done before" in capsys.readouterr().err
    for speaker in "tuv":
        whole, parts = (project.folder / f"{speaker}/{way}.safetensors" for way in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()
    assert not work.exists()


def test_a_checkpoint_of_other_speakers_is_ignored(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.epochs = 1
    work = project.folder / "work"
    with monkeypatch.context() as patch:
        patch.setattr("saml.stages.adapt.save_adapter", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            project.at_once("pqm", speakers=["t", "u"], work=work)
    project.at_once("pqm", speakers=["u", "t"], work=work)
    assert "checkpoint of other settings, inputs or processor ignored" in capsys.readouterr().err


@pytest.mark.parametrize("utterance", ["u-1", "u-6"], ids=["in training", "in the dev part"])
def test_a_speaker_that_diverges_is_named_and_stops_alone(
    utterance: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording whose loss is not a number; the others' adapters are those of adapting alone."""
    project.epochs = 2
    project.alone("saml", speakers=["t", "v"])

    def broken(cuts: Iterable[MonoCut]) -> dict[str, torch.Tensor]:
        loaded = load_features(cuts)
        loaded[utterance] = loaded[utterance] * torch.nan
        return loaded

    monkeypatch.setattr(examples, "load_features", broken)
    when = "in epoch 1" if utterance == "u-1" else "in the dev part"
    wanted = (
        f"^adapting saml to u: the loss of utterance {utterance} is not finite {when}.*other 2 are written"
    )
    with pytest.raises(Diverged, match=wanted):
        project.at_once("saml")
    assert not (project.folder / "u/at_once.safetensors").exists()
    for speaker in "tv":
        assert_same_adapter(project.folder / speaker)


def test_speakers_that_cannot_be_adapted_to_together(project: Project) -> None:
    with pytest.raises(SamlError, match="'t' is given twice"):
        project.at_once("pqm", speakers=["t", "u", "t"])
    with pytest.raises(SamlError, match="no speaker"):
        project.at_once("pqm", speakers=[])
    for name in ("cuts.jsonl.gz", "splits.json"):
        (project.folder / "u" / name).write_bytes((project.folder / "t" / name).read_bytes())
    with pytest.raises(SamlError, match="'t' and 'u' both have an utterance 't-"):
        project.at_once("pqm", speakers=["t", "u"])
