"""The stage train-base: joint CTC/attention training of a base model from scratch, with SpecAugment."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.compat.optional import load
from saml.config.libraries import asked
from saml.config.settings import BaseTrainingSettings, typed
from saml.corpora.manifests import read_cuts
from saml.features.batching import batches
from saml.models.build import build
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import full_state, save_model
from saml.runtime.devices import device, make_deterministic, seed_for, uses_bfloat16
from saml.runtime.errors import SamlError
from saml.tracking import RunRecord
from saml.training.augment import spec_augment, stretch_time
from saml.training.checkpoints import Checkpoints, identity
from saml.training.data import Batch, Examples, in_order, part_of
from saml.training.engine import Training
from saml.training.optim import WarmUpUpdates
from saml.training.task import Scores, Task
from saml.training.whole_model import WholeModel

# The name of the main phase in its random seed: an earlier name of it, so that random numbers stay the same.
_SEED_NAMES = {"main": "passes"}


@dataclass(frozen=True)
class Phase:
    """A part of the training with speech, number of epochs and learning-rate schedule of its own."""

    name: str
    speech: Sequence[MonoCut]
    epochs: int
    learning_rate: float


def train_base(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    cuts: Path,
    out_weights: Path,
    out_description: Path,
    record: Path,
    work: Path | None = None,
    checkpoint_seconds: float = float("inf"),
    corpus: str | None = None,
) -> None:
    """Train the recogniser of `settings["model"]` as `settings["base_training"]` says, and save it.

    The weights are those of the best epoch on the dev part, or the mean of the `average` best ones.

    Args:
        experiment: name of the experiment.
        settings: the config's sections `model` and `base_training`, under those keys.
        cuts: input, the pool `base`, its cuts marked train or dev.
        out_weights: output, safetensors.
        out_description: output, the JSON beside it.
        record: output, the run record.
        work: folder of the checkpoints until the job is done.
        checkpoint_seconds: seconds between checkpoints; there is one after each epoch in any case.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: settings are missing, a phase has no speech, or an optional library is not installed.
        Interrupted: the job was asked to stop; started again, it resumes.
    """
    family = settings["model"]["family"]
    run_record = RunRecord(
        stage="train-base", experiment=experiment, settings=settings, corpus=corpus, family=family
    )
    for library in asked("base_training", settings["base_training"]):
        load(*library)  # an optional library that is missing is reported now, not at the end
    how = typed(BaseTrainingSettings, settings)
    make_deterministic()
    torch.manual_seed(seed_for("base", how.seed))
    pool = read_cuts(cuts)
    recogniser = build(settings["model"], [cut.supervisions[0].text for cut in part_of(pool, "train")])
    examples = Examples(pool, recogniser)
    # Subwords that are learned from transcripts may differ with another version of sentencepiece.
    start = {**settings, "tokeniser": recogniser.tokeniser.describe()}
    checkpoints = Checkpoints(
        work, identity(start, how.seed, examples.cuts, cuts), seconds=checkpoint_seconds
    )
    for phase in phases(examples, how):
        torch.manual_seed(seed_for("base", how.seed, _SEED_NAMES.get(phase.name, phase.name)))
        training = _training(phase, how, recogniser, examples, run_record)
        scores = _trained(training, checkpoints.scope(phase.name))
    longest = max(cut.duration for cut in examples.cuts)
    save_model(recogniser, out_weights, out_description, longest_seconds=round(longest, 2))
    for key, value in scores.items():
        run_record.score(f"dev/{key}", value)
    run_record.size("model", out_weights.stat().st_size)
    run_record.score("parameters", sum(tensor.numel() for tensor in full_state(recogniser).values()))
    run_record.write(record)
    checkpoints.remove()


def phases(examples: Examples, how: BaseTrainingSettings) -> list[Phase]:
    """The phases of a training: synthetic commands, all other speech, recorded speech; those with epochs.

    Commands are easy: a network that has learned to align them learns from difficult speech from the start,
    instead of predicting frequent letters for many epochs. Recorded speech comes last, because the
    target speakers are recorded too.

    Raises:
        SamlError: `opening` or `closing` has epochs and the pool has no speech for it.
    """
    train = examples.part("train")
    commands = [cut for cut in train if _synthetic(cut) == "commands"]
    others = [cut for cut in train if _synthetic(cut) != "commands"]
    recorded = [cut for cut in train if _synthetic(cut) is None]
    if not commands and how.opening.epochs:
        raise SamlError(
            "base_training.opening: the pool has no commands; set its epochs to 0, "
            "or raise corpus.folder.synthetic_speech.commands"
        )
    if not recorded and how.closing.epochs:
        raise SamlError("base_training.closing: the pool has synthetic speech only; set its epochs to 0")
    every = (
        Phase("opening", commands, how.opening.epochs, how.opening.learning_rate),
        Phase("main", others, how.epochs, how.learning_rate),
        Phase("closing", recorded, how.closing.epochs, how.closing.learning_rate),
    )
    return [phase for phase in every if phase.epochs]


def _synthetic(cut: MonoCut) -> str | None:
    """The kind of synthetic speech of an utterance; None for a recording of a person."""
    return (cut.supervisions[0].custom or {}).get("synthetic")


def _training(
    phase: Phase, how: BaseTrainingSettings, recogniser: Recogniser, examples: Examples, record: RunRecord
) -> Training:
    module = as_module(recogniser).to(device())
    model = WholeModel(recogniser)
    steps = sum(len(_epoch(phase, how, index)) for index in range(phase.epochs))
    name = f"training the base model ({phase.name})"
    task = Task(
        name=name,
        record=record,
        curve="" if phase.name == "main" else f"{phase.name}/",
        batches=partial(_epoch, phase, how),
        utterances=phase.epochs * len(phase.speech),
        # The dev part is not like the speech of the opening, whose last state is kept.
        dev=in_order(examples.part("dev")) if phase.name != "opening" else (),
        get_state=model.full_state,
        set_state=model.load_full_state,
        select=how.select,
        initial_counts=phase.name == "closing",
        average=how.average,
        average_by=how.average_by,
    )
    return Training(
        name=name,
        recogniser=recogniser,
        model=model,
        examples=examples,
        tasks=[task],
        updates=WarmUpUpdates(
            [parameter for parameter in module.parameters() if parameter.requires_grad],
            steps=steps,
            schedule=how.schedule,
            learning_rate=phase.learning_rate,
            weight_decay=how.weight_decay,
            warm_up_share=how.warm_up_share,
            clip_norm=how.clip_norm,
        ),
        ctc_weight=how.ctc_weight,
        ctc_backend=how.ctc_backend,
        label_smoothing=how.label_smoothing,
        bfloat16=uses_bfloat16(how.precision),
        augment=partial(_augment, how=how),
        device=device(),
    )


def _trained(training: Training, checkpoints: Checkpoints) -> Scores:
    """Run a phase; returns the dev scores of the kept state, or without a dev part the number of epochs."""
    (progression,) = training.run(checkpoints)
    progression.check()
    kept = progression.kept
    if not kept:
        return {"epoch": float(progression.at.epochs)}
    if len(kept) == 1:
        return kept[0].dev
    return {**training.evaluate(progression), "epoch": kept[0].dev["epoch"], "averaged": float(len(kept))}


def _epoch(phase: Phase, how: BaseTrainingSettings, index: int) -> list[list[MonoCut]]:
    return batches(phase.speech, max_seconds=how.batch_seconds, seed=how.seed, epoch=index)


def _augment(batch: Batch, how: BaseTrainingSettings) -> Batch:
    if how.time_stretch is not None:
        batch = stretch_time(batch, how.time_stretch)
    return spec_augment(batch, asdict(how.spec_augment))
