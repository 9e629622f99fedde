"""How long a personalisation will take on this machine, timed on a few real steps before it begins."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import MonoCut

from saml.config.load import labels_in_models_style, stage_settings
from saml.config.settings import AdaptationSettings, DecodingSettings, typed
from saml.corpora.manifests import read_cuts
from saml.decoding.transcription import best_outputs
from saml.features import FRAMES_A_SECOND
from saml.features.batching import padded_seconds
from saml.models.recogniser import as_module
from saml.models.store import load_model
from saml.personalise.speech import speech_folder
from saml.personalise.steps import (
    TESTED,
    TO_USE,
    decode_step,
    label_step,
    model_of,
    tested_step,
    to_use_step,
)
from saml.runtime.devices import device, make_deterministic
from saml.runtime.files import read_json_object
from saml.runtime.memory import release
from saml.tracking import RunRecord
from saml.training.adapter_training import adapter_spec, adapter_task, fresh_adapters, train_adapters
from saml.training.checkpoints import Checkpoints
from saml.training.data import Examples

Config = Mapping[str, Any]

# Recordings that are timed: transcribed, and trained on.
DECODED, TRAINED = 2, 4
# A forward pass takes a third of a step of training, which goes back through the network too.
_FORWARD = 1 / 3


@dataclass(frozen=True)
class Work:
    """Recordings that are still to be processed, each counted as often as it is.

    Attributes:
        whole: transcribed with the model's whole context.
        short: transcribed with the context of adapted arms.
        trained: trained on.
        scored: of a dev part, after an epoch.
    """

    whole: int = 0
    short: int = 0
    trained: int = 0
    scored: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.whole + other.whole,
            self.short + other.short,
            self.trained + other.trained,
            self.scored + other.scored,
        )


@dataclass(frozen=True)
class Pace:
    """Seconds for one recording: transcribed with the whole or the short context, trained on."""

    whole: float
    short: float
    trained: float

    def seconds(self, work: Work) -> float:
        """How long `work` takes."""
        forward = self.trained * _FORWARD
        return (
            self.whole * work.whole
            + self.short * work.short
            + self.trained * work.trained
            + forward * work.scored
        )


def expected_seconds(config: Config, results: Path, out: Path) -> float:
    """How long the steps that are not done yet take, from timed steps of each adapted arm; 0 without any.

    The adapters to use are counted, although they are trained only where the tested ones help.
    """
    speakers = config["target_speakers"]
    adapted = [name for name in config["run_arms"] if config["arms"][name]["adapted"]]
    shared = sum((unadapted_work(config, results, out, speaker) for speaker in speakers), Work())
    works = {
        arm: sum((adapted_work(config, results, out, speaker, arm) for speaker in speakers), Work())
        for arm in adapted
    }
    if not adapted or not any(work != Work() for work in (shared, *works.values())):
        return 0.0
    cuts = read_cuts(speech_folder(out, speakers[0]) / "cuts.jsonl.gz")
    paces = {arm: timed(config, results, arm, cuts) for arm in adapted}
    release()
    first = next(iter(paces.values()))
    return first.seconds(shared) + sum(paces[arm].seconds(works[arm]) for arm in adapted)


def unadapted_work(config: Config, results: Path, out: Path, speaker: str) -> Work:
    """What is left to do for a speaker with the models as they are: transcribing, and labels."""
    arms = [name for name in config["run_arms"] if not config["arms"][name]["adapted"]]
    times = sum(not decode_step(config, results, out, arm, speaker, 0).is_done() for arm in arms)
    if labels_in_models_style(config) and not any(config["arms"][arm]["precision"] == "fp32" for arm in arms):
        times += not label_step(config, results, out, speaker).is_done()
    return Work(whole=times * _count(out, speaker, TESTED, "test"))


def adapted_work(config: Config, results: Path, out: Path, speaker: str, arm: str) -> Work:
    """What is left to do for a speaker and an adapted arm: two trainings, and transcribing."""
    epochs = typed(AdaptationSettings, stage_settings(config, ["arm", "adaptation"], arm)).epochs
    (seed,) = config["seeds"]
    work = Work()
    for step, splits in ((tested_step, TESTED), (to_use_step, TO_USE)):
        if not step(config, results, out, arm, speaker, seed).is_done():
            train, dev = (_count(out, speaker, splits, part) for part in ("train", "dev"))
            work += Work(trained=epochs * train, scored=(epochs + 1) * dev)
    if not decode_step(config, results, out, arm, speaker, seed).is_done():
        work += Work(short=_count(out, speaker, TESTED, "test"))
    return work


def timed(config: Config, results: Path, arm: str, cuts: Sequence[MonoCut]) -> Pace:
    """Transcribe some of `cuts` without an adapter, and take a step of training; nothing is kept of it.

    The short context is not timed, in which a model without an adapter repeats itself: its share of the
    whole one is taken.
    """
    base, content = load_model(*model_of(results, config["arms"][arm]))
    make_deterministic()
    as_module(base).to(device())
    chosen = _of_middling_length(cuts, DECODED)
    search = typed(DecodingSettings, stage_settings(config, ["decoding"]))
    whole = _clocked(lambda: best_outputs(base, chosen, search, whole_context=True)) / len(chosen)
    share = 1.0
    if base.whole_frames is not None:
        own = sum(map(padded_seconds, chosen)) / len(chosen)
        share = min(1.0, own * FRAMES_A_SECOND / base.whole_frames)
    settings = stage_settings(config, ["arm", "adapters", "adaptation"], arm)
    how = typed(AdaptationSettings, settings)
    chosen = _of_middling_length(cuts, TRAINED)
    adapted = fresh_adapters(base, adapter_spec(settings), seed=1)
    task = adapter_task(
        adapted,
        0,
        how,
        name=arm,
        record=RunRecord(stage="adapt", experiment=config["experiment"]),
        train=chosen,
        dev=[],
        utterances=len(chosen),
        seed=1,
    )
    examples = Examples(chosen, base)

    def step() -> None:
        train_adapters(
            adapted,
            examples,
            [task],
            how,
            Checkpoints(None, {}),
            name=f"timing {arm}",
            split_steps="always",
            dropout_seed=1,
        )

    return Pace(whole, whole * share, _clocked(step) / len(chosen))


def in_words(seconds: float) -> str:
    """A time as somebody would say it."""
    minutes = max(1, round(seconds / 60))
    if minutes < 100:
        return f"about {minutes} minute{'s' if minutes > 1 else ''}"
    return f"about {round(minutes / 60)} hours"


def _clocked(step: Callable[[], object]) -> float:
    began = time.monotonic()
    step()
    return time.monotonic() - began


def _of_middling_length(cuts: Iterable[MonoCut], count: int) -> list[MonoCut]:
    """`count` cuts from the middle of all, ordered by length."""
    ordered = sorted(cuts, key=lambda cut: (cut.duration, cut.id))
    first = max(0, (len(ordered) - count) // 2)
    return ordered[first : first + count]


def _count(out: Path, speaker: str, splits: str, part: str) -> int:
    """The utterances of a part in all folds together."""
    folds = read_json_object(speech_folder(out, speaker) / splits)["folds"]
    return sum(len(fold[part]) for fold in folds)
