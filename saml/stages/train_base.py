"""Training a base model from scratch: joint CTC/attention, SpecAugment, the best epochs on the dev part."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.compat.optional import asked, load
from saml.features.log_mel import batches
from saml.models.build import build
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import full_state, save_model
from saml.runtime.errors import SamlError
from saml.tracking import RunRecord
from saml.training.augment import spec_augment, stretch_time
from saml.training.batch import Batch
from saml.training.checkpoints import Checkpoints
from saml.training.common import (
    device,
    identity,
    in_bfloat16,
    in_order,
    make_deterministic,
    read_cuts,
    seed_for,
)
from saml.training.data import Examples, part_of
from saml.training.engine import Task, run
from saml.training.optim import WarmUpUpdates

# Part of the seed since before the phase was called "main": random numbers must stay the same.
_SEED_NAMES = {"main": "passes"}


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

    Args:
        experiment: name of the experiment.
        settings: the config's sections `model` and `base_training`, under those keys.
        cuts: input, the base pool, its cuts marked train or dev.
        out_weights: output, safetensors; `out_description` the JSON beside it.
        out_description: output.
        record: output, the run record.
        work: where checkpoints live until the job is done.
        checkpoint_seconds: one is left so often; after an epoch one is left in any case.
        corpus: name of the corpus, for the record.
    """
    how, family = settings["base_training"], settings["model"]["family"]
    record_ = RunRecord(
        stage="train-base", experiment=experiment, settings=settings, corpus=corpus, family=family
    )
    for library in asked("base_training", how):
        load(*library)  # what is missing is missed now, not at the end
    make_deterministic()
    torch.manual_seed(seed_for("base", how["seed"]))
    heard = read_cuts(cuts)
    recogniser = build(settings["model"], [cut.supervisions[0].text for cut in part_of(heard, "train")])
    examples = Examples(heard, recogniser)
    # What was learned from transcripts may differ with another version of the library that learns it.
    start = {**settings, "tokeniser": recogniser.tokeniser.describe()}
    checkpoints = Checkpoints(
        work, identity(start, how["seed"], examples.cuts, cuts), seconds=checkpoint_seconds
    )
    for name, train, phase in _phases(examples, how):
        torch.manual_seed(seed_for("base", how["seed"], _SEED_NAMES.get(name, name)))
        scores = run(_task(name, train, phase, recogniser, examples), record_, checkpoints.scope(name))
    save_model(recogniser, out_weights, out_description)
    for key, value in scores.items():
        record_.score(f"dev/{key}", value)
    record_.size("model", out_weights.stat().st_size)
    record_.score("parameters", sum(tensor.numel() for tensor in full_state(recogniser).values()))
    record_.write(record)
    checkpoints.remove()


def _phases(examples: Examples, how: Mapping[str, Any]) -> list[tuple[str, list[MonoCut], dict[str, Any]]]:
    """(name, speech, settings) of each phase: synthetic commands, all other speech, recorded speech alone.

    Commands are easy: a network that has learned to follow them learns hard speech from the start, instead of
    lingering at guessing letters. Synthetic speech teaches what words sound like; recorded speech
    comes last.
    """
    train = examples.part("train")
    commands = [cut for cut in train if _made(cut) == "commands"]
    others = [cut for cut in train if _made(cut) != "commands"]
    recorded = [cut for cut in train if not _made(cut)]
    phases = [("opening", commands), ("main", others), ("closing", recorded)]
    if not commands and how["opening"]["epochs"]:
        raise SamlError(
            "base_training.opening: the pool has no commands; set its epochs to 0, "
            "or synthetic_speech.commands"
        )
    if not recorded and how["closing"]["epochs"]:
        raise SamlError("base_training.closing: the pool has synthetic speech only; set its epochs to 0")
    settings = {name: {**how, **how.get(name, {})} if name != "main" else dict(how) for name, _ in phases}
    return [(name, speech, settings[name]) for name, speech in phases if settings[name]["epochs"]]


def _made(cut: MonoCut) -> str | None:
    """What kind of synthetic speech an utterance is; None where somebody spoke it."""
    return (cut.supervisions[0].custom or {}).get("synthetic")


def _task(
    name: str,
    train: Sequence[MonoCut],
    how: Mapping[str, Any],
    recogniser: Recogniser,
    examples: Examples,
) -> Task:
    module = as_module(recogniser).to(device())
    steps = sum(len(_epoch(train, how, index)) for index in range(how["epochs"]))
    return Task(
        name=f"training the base model ({name})",
        curve="" if name == "main" else f"{name}/",
        recogniser=recogniser,
        examples=examples,
        batches=lambda index: [(batch, None) for batch in _epoch(train, how, index)],
        utterances=how["epochs"] * len(train),
        # Speech to open with is not what the dev part is like: its last state goes on.
        dev=in_order(examples.part("dev")) if name != "opening" else (),
        updates=WarmUpUpdates(
            [parameter for parameter in module.parameters() if parameter.requires_grad],
            steps=steps,
            schedule=how.get("schedule", "cosine"),
            **{key: how[key] for key in ("learning_rate", "weight_decay", "warm_up_share", "clip_norm")},
        ),
        get_state=partial(full_state, recogniser),
        set_state=lambda state: _restore(module, state),
        train=lambda: _mode(module, training=True),
        eval=lambda: _mode(module, training=False),
        select=how["select"],
        judge_start=name == "closing",
        average=max(1, how.get("average", 1)),
        average_by=how.get("average_by", "saml"),
        bfloat16=in_bfloat16(how),
        ctc_weight=how["ctc_weight"],
        ctc_backend=how.get("ctc_backend", "torch"),
        label_smoothing=how["label_smoothing"],
        prepare=partial(_augment, how=how),
        device=device(),
    )


def _epoch(train: Sequence[MonoCut], how: Mapping[str, Any], index: int) -> list[list[MonoCut]]:
    return batches(train, max_seconds=how["batch_seconds"], seed=how["seed"], epoch=index)


def _augment(batch: Batch, how: Mapping[str, Any]) -> Batch:
    if how["time_stretch"] is not None:
        batch = stretch_time(batch, how["time_stretch"])
    return spec_augment(batch, how["spec_augment"])


def _mode(module: torch.nn.Module, *, training: bool) -> None:
    module.train(training)


def _restore(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    # Not strict: tied and computed tensors are left out of the state.
    module.load_state_dict(dict(state), strict=False)
