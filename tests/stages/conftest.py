"""Three speakers with different numbers of utterances, tiny models, and adaptation naively and together."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from saml.adapters import AdaptedRecogniser
from saml.adapters.store import save_adapter
from saml.models.recogniser import Recogniser
from saml.models.store import read_description, save_model
from saml.stages.adapt import Speaker, adapt
from saml.training.adapter_training import adapter_spec
from tests.stages.naive_adaptation import Losses, adapt_naively
from tests.training import conftest as run

# Training and dev utterances. In batches of 2 the speakers have 5, 3 and 6 steps an epoch.
ENROLMENT = {"t": (9, 2), "u": (5, 2), "v": (12, 3)}
ARMS: dict[str, dict[str, Any]] = {
    "saml": {**run.SAML_ARM, "experts": 3},
    "output": {**run.SAML_ARM, "experts": 3, "mixing": "output"},
    "input": {**run.SAML_ARM, "experts": 3, "decoder_routing": "input"},
    "pqm": run.PQM_ARM,
    "nf4-lora": run.LORA_ARM,
}


@dataclass
class Project:
    """A folder with a model and speakers, and what is done with them."""

    folder: Path
    make: Callable[[], Recogniser]
    epochs: int = 4
    changes: dict[str, Any] = field(default_factory=dict)  # of the adaptation

    def settings(self, arm: str, dropout: float) -> dict[str, Any]:
        """An arm's settings."""
        more = {"epochs": self.epochs, "batch_utterances": 2, **self.changes}
        entry = {**ARMS[arm], "dropout": dropout, "adaptation": more}
        return run.settings("adapters", "adaptation", "partition", arm=entry)

    def options(self, arm: str, dropout: float) -> dict[str, Any]:
        """What adapting alone and at once are both given; a start for the arm is made."""
        settings = self.settings(arm, dropout)
        options = {
            "experiment": "test",
            "settings": settings,
            "arm": arm,
            "seed": 1,
            "weights": self.folder / "model.safetensors",
            "description": self.folder / "model.json",
        }
        if not ARMS[arm]["pretrained"]:
            return options
        paths = self.folder / f"{arm}.safetensors", self.folder / f"{arm}.json"
        adapted = AdaptedRecogniser(self.make(), adapter_spec(settings), seed=2)
        torch.manual_seed(3)
        state = {name: tensor + 0.05 * torch.randn_like(tensor) for name, tensor in adapted.state().items()}
        content = read_description(options["description"])
        save_adapter(*paths, spec=adapted.spec, folds=[state], base=content, origin={"arm": arm})
        return {**options, "adapter": paths[0], "adapter_description": paths[1]}

    def files(self, speaker: str, way: str) -> dict[str, Any]:
        """A speaker's inputs, and outputs for one of the ways."""
        folder = self.folder / speaker
        return {
            "speaker": speaker,
            "cuts": folder / "cuts.jsonl.gz",
            "splits": folder / "splits.json",
            "out_adapter": folder / f"{way}.safetensors",
            "out_description": folder / f"{way}.json",
            "record": folder / f"{way}.run.jsonl",
        }

    def alone(
        self, arm: str, speakers: Sequence[str] = tuple(ENROLMENT)
    ) -> dict[str, tuple[Losses, list[dict[str, float]]]]:
        """Adapt naively to one speaker after another, without dropout: losses and dev scores of each."""
        options = self.options(arm, dropout=0.0)
        return {speaker: adapt_naively(**options, **self.files(speaker, "alone")) for speaker in speakers}

    def at_once(
        self,
        arm: str,
        dropout: float = 0.0,
        speakers: Sequence[str] = tuple(ENROLMENT),
        way: str = "at_once",
        **more: Any,
    ) -> None:
        """Adapt to all at once."""
        chosen = [Speaker(**self.files(speaker, way)) for speaker in speakers]
        adapt(**self.options(arm, dropout), speakers=chosen, **more)


@pytest.fixture
def project(tmp_path: Path, make_recogniser: Callable[[], Recogniser], family: str) -> Project:
    """A project of the family in turn."""
    save_model(make_recogniser(), tmp_path / "model.safetensors", tmp_path / "model.json")
    for speaker, (train, dev) in ENROLMENT.items():
        parts = ["train"] * train + ["dev"] * dev + ["test"] * 2
        run.write_pool(tmp_path / speaker, [speaker], parts, padded=140 if family == "whisper" else None)
        ids = [f"{speaker}-{index}" for index in range(len(parts))]
        fold = {"train": ids[:train], "dev": ids[train : train + dev], "test": ids[train + dev :]}
        write_folds(tmp_path / speaker, [fold])
    return Project(tmp_path, make_recogniser)


def write_folds(folder: Path, folds: list[dict[str, list[str]]]) -> None:
    """A speaker's splits."""
    (folder / "splits.json").write_text(json.dumps({"folds": folds}))


def only_conformer() -> Any:
    """For a module whose matter is the same in all families: put it where the parameter `family` is."""
    return pytest.mark.parametrize("family", ["conformer"])


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a corpus of two pool speakers, a heldout one and a target."""
    monkeypatch.chdir(tmp_path)
    lines = ["utterance\tspeaker\trole\tfile\ttext"]
    for speaker, role in (("anna", "base"), ("bert", "pretrain"), ("carl", "heldout"), ("dora", "target")):
        for index in range(6):
            name = f"{speaker}-{index}"
            path = Path("mine") / speaker / f"{index}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(len(lines)).standard_normal(8_000 + 800 * index)
            soundfile.write(path, 0.1 * noise, 16_000)
            lines.append(f"{name}\t{speaker}\t{role}\t{speaker}/{index}.wav\tOne Two {'abcdef'[index]}")
    Path("mine/manifest.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path
