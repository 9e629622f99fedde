"""A tiny corpus of noise with features, and the stages run on it as the commands do."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from lhotse import CutSet, Features, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from saml.features.store import ArchiveWriter
from saml.training.engine import Step, Training
from tests.conftest import TINY

WORDS = ["bin blue", "lay red", "set green", "place white", "bin a", "lay b", "set c", "place d"]

SETTINGS: dict[str, Any] = {
    "model": {"family": "conformer", "conformer": TINY},
    "base_training": {
        "epochs": 2,
        "average": 1,
        "average_by": "saml",
        "batch_seconds": 4,
        "learning_rate": 1e-3,
        "warm_up_share": 0.2,
        "schedule": "cosine",
        "weight_decay": 0.01,
        "ctc_weight": 0.3,
        "ctc_backend": "torch",
        "label_smoothing": 0.1,
        "clip_norm": 5.0,
        "select": "loss",
        "time_stretch": [0.9, 1.1],
        "speed_perturbation": None,
        "precision": "fp32",
        "opening": {"epochs": 0, "learning_rate": 1e-3},
        "closing": {"epochs": 1, "learning_rate": 1e-3},
        "spec_augment": {"time_masks": 1, "time_width": 5, "frequency_masks": 1, "frequency_width": 5},
        "seed": 1,
    },
    "quantisation": {"block_size": 64, "double": True},
    "adapters": {
        "rank": 1,
        "alpha": 4,
        "dropout": 0.2,
        "feed_forward": True,
        "mixing": "merge",
        "decoder_routing": "encoder",
        "temperature": 1.0,
        "shared": "nothing",
        "routes_from": "router",
        "experts_from": "initial_speakers",
    },
    "initial_speakers": None,
    "pretraining": {
        "utterances": 22,
        "initialisation_share": 0.5,
        "batch_utterances": 4,
        "learning_rate": {"expert": 1e-2, "router": 1e-2, "initialisation": None},
        "interleaved": True,
        "frozen": None,
        "decay": 1.0,
        "clip_norm": 5.0,
        "ctc_weight": 0.3,
        "ctc_backend": "torch",
        "precision": "fp32",
        "select": "loss",
    },
    "adaptation": {
        "epochs": 2,
        "collapse": False,
        "batch_utterances": 4,
        "learning_rate": {"expert": 1e-2, "router": 1e-2},
        "interleaved": True,
        "frozen": None,
        "decay": 0.9,
        "clip_norm": 5.0,
        "ctc_weight": 0.3,
        "ctc_backend": "torch",
        "precision": "fp32",
        "select": "loss",
    },
    "partition": {"enrolment": None},
    "decoding": {
        "beams": 2,
        "batch_seconds": 20,
        "max_tokens_per_second": 10.0,
        "ctc_weight": 0.0,
        "guard": False,
    },
    "scoring": {"scorers": ["released", "whisper"]},
}
SAML_ARM = {"precision": "nf4", "adapted": True, "experts": 2, "pretrained": True, "routed": True}
PQM_ARM = {"precision": "nf4", "adapted": True, "experts": 1, "pretrained": True, "routed": False}
LORA_ARM = {"precision": "nf4", "adapted": True, "experts": 1, "pretrained": False, "routed": False}


def settings(*sections: str, arm: dict[str, Any] | None = None) -> dict[str, Any]:
    """The sections that a stage wants, and the arm's entry."""
    chosen = {section: SETTINGS[section] for section in sections}
    return {**chosen, "arm": arm} if arm is not None else chosen


def write_pool(folder: Path, speakers: list[str], parts: list[str], padded: int | None = None) -> Path:
    """Cuts of random features, one utterance a part for each speaker; returns the manifest's path.

    `padded` is the number of frames that Whisper wants, if it is for one.
    """
    folder.mkdir(parents=True)
    chance = np.random.default_rng(len(speakers))
    cuts = []
    with ArchiveWriter(folder / "features.bin") as archive:
        for speaker in speakers:
            for index, part in enumerate(parts):
                cuts.append(
                    _cut(f"{speaker}-{index}", speaker, part, chance, archive, WORDS[index % len(WORDS)])
                )
    for cut in cuts:
        cut.custom |= {} if padded is None else {"padded_frames": padded}
    path = folder / "cuts.jsonl.gz"
    CutSet.from_items(cuts).to_file(path)
    return path


def _cut(
    name: str, speaker: str, part: str, chance: np.random.Generator, archive: ArchiveWriter, text: str
) -> MonoCut:
    frames = int(chance.integers(60, 120))
    duration = frames / 100
    features = Features(
        type="saml-log-mel",
        num_frames=frames,
        num_features=80,
        frame_shift=0.01,
        sampling_rate=16_000,
        start=0.0,
        duration=duration,
        storage_type=archive.name,
        storage_path=archive.storage_path,
        storage_key=archive.write(name, chance.standard_normal((frames, 80))),
        recording_id=name,
        channels=0,
    )
    source = AudioSource(type="file", channels=[0], source=f"{name}.wav")
    return MonoCut(
        id=name,
        start=0.0,
        duration=duration,
        channel=0,
        features=features,
        recording=Recording(name, [source], 16_000, int(duration * 16_000), duration),
        supervisions=[SupervisionSegment(name, name, 0.0, duration, text=text, speaker=speaker)],
        custom={"part": part},
    )


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pools, a target speaker, and the models and adapters of the shared stages."""
    folder = tmp_path_factory.mktemp("experiment")
    write_pool(folder / "base", ["a", "b", "c"], ["train"] * 4 + ["dev"])
    write_pool(folder / "pretrain", ["d", "e", "f"], ["train"] * 5 + ["dev"])
    write_pool(folder / "heldout", ["g"], ["test"] * 2)
    write_pool(folder / "target", ["t"], ["train"] * 4 + ["dev"] * 2 + ["test"] * 2)
    ids = [f"t-{index}" for index in range(8)]
    fold = {"train": ids[:4], "dev": ids[4:6], "test": ids[6:]}
    other = {"train": ids[4:], "dev": ids[:2], "test": ids[2:4]}
    (folder / "splits.json").write_text(json.dumps({"folds": [fold]}))
    (folder / "cv.json").write_text(json.dumps({"folds": [fold, other]}))
    train_base(folder, "base")
    quantise(folder)
    mixture(folder, "initialise_experts", "experts", SAML_ARM)
    start = {"experts": folder / "experts.safetensors", "experts_description": folder / "experts.json"}
    mixture(folder, "pretrain", "saml", SAML_ARM, **start)
    mixture(folder, "pretrain", "pqm", PQM_ARM)
    return folder


def train_base(folder: Path, name: str, work: Path | None = None, **changes: Any) -> None:
    """Run train-base into `<name>.safetensors`."""
    from saml.stages.train_base import train_base as stage

    stage(
        **{
            "experiment": "test",
            "settings": settings("model", "base_training"),
            "cuts": folder / "base/cuts.jsonl.gz",
            "out_weights": folder / f"{name}.safetensors",
            "out_description": folder / f"{name}.json",
            "record": folder / f"{name}.run.jsonl",
            "work": work,
            **changes,
        }
    )


def quantise(folder: Path, base: str = "base", name: str = "nf4") -> None:
    """Run quantise on `<base>.safetensors` into `<name>.safetensors`."""
    from saml.stages.quantise import quantise as stage

    stage(
        experiment="test",
        settings=settings("quantisation"),
        weights=folder / f"{base}.safetensors",
        description=folder / f"{base}.json",
        out_weights=folder / f"{name}.safetensors",
        out_description=folder / f"{name}.json",
        record=folder / f"{name}.run.jsonl",
    )


def mixture(folder: Path, stage: str, name: str, arm: dict[str, Any], **changes: Any) -> None:
    """Run initialise-experts or pretrain into `<name>.safetensors`."""
    from saml.stages.initialise import initialise_experts
    from saml.stages.pretrain import pretrain

    function: Callable[..., None] = {"initialise_experts": initialise_experts, "pretrain": pretrain}[stage]
    chosen = settings("adapters", "pretraining", "initial_speakers", arm=arm)
    function(
        **{
            "experiment": "test",
            "settings": chosen,
            "arm": name,
            "seed": 1,
            "weights": folder / "nf4.safetensors",
            "description": folder / "nf4.json",
            "cuts": folder / "pretrain/cuts.jsonl.gz",
            "out_adapter": folder / f"{name}.safetensors",
            "out_description": folder / f"{name}.json",
            "record": folder / f"{name}.run.jsonl",
            **changes,
        }
    )


def adapt(folder: Path, out: str, arm: dict[str, Any], start: str | None, **changes: Any) -> None:
    """Run adapt into `<out>.safetensors`."""
    adapt_one(
        **{
            "experiment": "test",
            "settings": settings("adapters", "adaptation", "partition", arm=arm),
            "arm": out,
            "speaker": "t",
            "seed": 1,
            "weights": folder / "nf4.safetensors",
            "description": folder / "nf4.json",
            "cuts": folder / "target/cuts.jsonl.gz",
            "splits": folder / "splits.json",
            "out_adapter": folder / f"{out}.safetensors",
            "out_description": folder / f"{out}.json",
            "record": folder / f"{out}.run.jsonl",
            "adapter": folder / f"{start}.safetensors" if start else None,
            "adapter_description": folder / f"{start}.json" if start else None,
            **changes,
        }
    )


def adapt_one(**options: Any) -> None:
    """The stage `adapt` for one speaker, whose id and files stand among the options."""
    from saml.stages.adapt import Speaker, adapt

    adapt(**_with_own(options, "speakers", Speaker))


def decode_one(**options: Any) -> None:
    """The stage `decode` for one speaker, likewise, or for the held-out pool alone."""
    from saml.stages.decode import Decoding, decode

    decode(**_with_own(options, "decodings", Decoding))


def _with_own(options: dict[str, Any], name: str, kind: Any) -> dict[str, Any]:
    own = {field.name for field in fields(kind)}
    common = {key: value for key, value in options.items() if key not in own}
    return {**common, name: [kind(**{key: options[key] for key in own & options.keys()})]}


def batch_sizes(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[int]:
    """How many utterances each batch has whose losses `module` computes from now on."""
    sizes: list[int] = []
    compute = module.utterance_losses

    def counted(recogniser: Any, batch: Any, **options: Any) -> Any:
        sizes.append(len(batch.utterances))
        return compute(recogniser, batch, **options)

    monkeypatch.setattr(module, "utterance_losses", counted)
    return sizes


@contextmanager
def interrupted_after_an_epoch() -> Iterator[None]:
    """Trainings within stop at the first step of their second epoch, after the first one's checkpoint."""
    step = Training.step

    def stops(self: Training, batches: Step) -> float:
        if batches[0][0].at.epochs == 1:
            raise KeyboardInterrupt
        return step(self, batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "step", stops)
        yield
