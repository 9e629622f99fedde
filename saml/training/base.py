"""Training a base model from scratch: joint CTC/attention, SpecAugment, the best pass of the dev part."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from saml.features import batches
from saml.models import as_module, build
from saml.models.store import full_state, save_model
from saml.tracking import RunRecord
from saml.training.augment import spec_augment, stretch_time
from saml.training.batch import Batch
from saml.training.checkpoints import Checkpoints
from saml.training.common import (
    device,
    identity,
    in_order,
    make_deterministic,
    read_cuts,
    seed_for,
)
from saml.training.examples import Examples
from saml.training.loop import Task, run
from saml.training.updates import WarmUpUpdates


def train_base(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    cuts: Path,
    out_weights: Path,
    out_description: Path,
    record: Path,
    work: Path | None = None,
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
        corpus: name of the corpus, for the record.
    """
    how, family = settings["base_training"], settings["model"]["family"]
    record_ = RunRecord(
        stage="train-base", experiment=experiment, settings=settings, corpus=corpus, family=family
    )
    make_deterministic()
    torch.manual_seed(seed_for("base", how["seed"]))
    recogniser = build(settings["model"])
    module = as_module(recogniser).to(device())
    examples = Examples(read_cuts(cuts), recogniser)
    train = examples.part("train")
    steps = sum(len(_pass(train, how, index)) for index in range(how["passes"]))
    task = Task(
        name="training the base model",
        recogniser=recogniser,
        examples=examples,
        batches=lambda index: [(batch, None) for batch in _pass(train, how, index)],
        utterances=how["passes"] * len(train),
        dev=in_order(examples.part("dev")),
        updates=WarmUpUpdates(
            [parameter for parameter in module.parameters() if parameter.requires_grad],
            steps=steps,
            **{key: how[key] for key in ("learning_rate", "weight_decay", "warm_up_share", "clip_norm")},
        ),
        get_state=partial(full_state, recogniser),
        set_state=lambda state: _restore(module, state),
        train=lambda: _mode(module, training=True),
        eval=lambda: _mode(module, training=False),
        select=how["select"],
        ctc_weight=how["ctc_weight"],
        label_smoothing=how["label_smoothing"],
        prepare=partial(_augment, how=how),
        device=device(),
    )
    checkpoints = Checkpoints(work, identity(settings, how["seed"], examples.cuts, cuts))
    scores = run(task, record_, checkpoints)
    save_model(recogniser, out_weights, out_description)
    for name, value in scores.items():
        record_.score(f"dev/{name}", value)
    record_.size("model", out_weights.stat().st_size)
    record_.score("parameters", sum(tensor.numel() for tensor in full_state(recogniser).values()))
    record_.write(record)
    checkpoints.remove()


def _pass(train: list[Any], how: Mapping[str, Any], index: int) -> list[list[Any]]:
    return batches(train, max_seconds=how["batch_seconds"], seed=how["seed"], pass_index=index)


def _augment(batch: Batch, how: Mapping[str, Any]) -> Batch:
    if how["time_stretch"] is not None:
        batch = stretch_time(batch, how["time_stretch"])
    return spec_augment(batch, how["spec_augment"])


def _mode(module: torch.nn.Module, *, training: bool) -> None:
    module.train(training)


def _restore(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    # Not strict: tied and computed tensors are left out of the state.
    module.load_state_dict(dict(state), strict=False)
