"""The training of adapters, alike for expert initialisation, pre-training and adaptation."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lhotse import MonoCut
from torch import nn

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.spec import AdapterSpec
from saml.config.settings import AdapterSettings, AdapterTrainingSettings, typed
from saml.models.recogniser import Recogniser
from saml.runtime.devices import device, make_deterministic, seed_for, uses_bfloat16
from saml.runtime.errors import SamlError
from saml.tracking import RunRecord
from saml.training.checkpoints import Checkpoints
from saml.training.data import Examples, in_order, shuffled
from saml.training.engine import Training
from saml.training.optim import AdapterUpdates
from saml.training.task import Progression, Task


def adapter_spec(settings: Mapping[str, Any]) -> AdapterSpec:
    """The adapter of an arm, from a stage's settings: the section `adapters` and the arm's entry."""
    own = typed(AdapterSettings, settings)
    return AdapterSpec(
        experts=own.experts,
        feed_forward_experts=1 if own.feed_forward else 0,
        rank=own.rank,
        alpha=own.alpha,
        dropout=own.dropout,
        mixing=own.mixing,
        routed=own.routed,
        temperature=own.temperature,
        decoder_routing=own.decoder_routing,
        shared=own.shared if own.experts > 1 else "nothing",
        routes_from=own.routes_from if own.routed else "router",
    )


def fresh_adapters(
    base: Recogniser,
    spec: AdapterSpec,
    seed: int,
    *,
    adapters: int = 1,
    independent: bool = False,
    speakers: Sequence[str] = (),
) -> AdaptedRecogniser:
    """The base with fresh adapters of a seed, on the device, ready for a deterministic training."""
    adapted = AdaptedRecogniser(
        base,
        spec,
        seed=seed_for("adapters", seed),
        adapters=adapters,
        independent=independent,
        speakers=speakers,
    )
    adapted.to(device())
    make_deterministic()
    return adapted


def adapter_task(
    adapted: AdaptedRecogniser,
    adapter: int,
    how: AdapterTrainingSettings,
    *,
    name: str,
    record: RunRecord,
    train: Sequence[MonoCut],
    dev: Sequence[MonoCut],
    utterances: int,
    seed: int,
    curve: str = "",
) -> Task:
    """The task of one adapter: `utterances` of `train` in shuffled epochs, the best state on `dev`.

    The state before the first epoch is a candidate too, so that training never has to make things worse on
    `dev`. Without `dev` the last state is kept.
    """
    return Task(
        name=name,
        record=record,
        curve=curve,
        batches=partial(_batches, train, how.batch_utterances, seed),
        utterances=utterances,
        dev=in_order(dev),
        get_state=partial(adapted.state, adapter),
        set_state=partial(adapted.load_state, adapter=adapter),
        select=how.select,
        initial_counts=True,
    )


def train_adapters(
    adapted: AdaptedRecogniser,
    examples: Examples,
    tasks: Sequence[Task],
    how: AdapterTrainingSettings,
    checkpoints: Checkpoints,
    *,
    name: str,
    split_steps: str,
    dropout_seed: int,
    expert_rate: float | None = None,
) -> list[Progression]:
    """Train adapter i on task i, all in the same steps; see `Training.run`.

    Args:
        adapted: the base with as many adapters as there are tasks.
        examples: the utterances of all tasks.
        tasks: what each adapter is trained on.
        how: settings of the training; parameters in `how.frozen` keep their values.
        checkpoints: where the training is kept while it runs.
        name: for progress and errors.
        split_steps: see `Training`.
        dropout_seed: seeds what dropout draws.
        expert_rate: the learning rate of the experts in place of `how.learning_rate.expert`.

    Raises:
        SamlError: nothing is left to train, or a task has no utterances.
        Interrupted: the job was asked to stop.
    """
    updates = adapter_updates(adapted, how, name=name, expert_rate=expert_rate)
    torch.manual_seed(dropout_seed)
    training = Training(
        name=name,
        recogniser=adapted,
        model=adapted,
        examples=examples,
        tasks=tasks,
        updates=updates,
        ctc_weight=how.ctc_weight,
        ctc_backend=how.ctc_backend,
        bfloat16=uses_bfloat16(how.precision),
        split_steps=split_steps,
        device=device(),
    )
    return training.run(checkpoints)


def adapter_updates(
    adapted: AdaptedRecogniser,
    how: AdapterTrainingSettings,
    *,
    name: str,
    expert_rate: float | None = None,
) -> AdapterUpdates:
    """The optimiser of `train_adapters`. Raises SamlError, naming it, when nothing is left to train."""
    trained = _trained(adapted, how.frozen, name)
    return AdapterUpdates(
        trained["expert"],
        trained["router"],
        learning_rate={
            "expert": how.learning_rate.expert if expert_rate is None else expert_rate,
            "router": how.learning_rate.router,
        },
        clip_norm=how.clip_norm,
        decay=how.decay,
        interleaved=how.interleaved,
    )


def _batches(train: Sequence[MonoCut], utterances: int, seed: int, epoch: int) -> list[list[MonoCut]]:
    return shuffled(train, utterances, seed, epoch)


def _trained(adapted: AdaptedRecogniser, frozen: str | None, name: str) -> dict[str, list[nn.Parameter]]:
    """The parameters that are updated, by the name of their learning rate; the others need no gradient."""
    groups = {
        "expert": list(adapted.expert_parameters().values()),
        "router": list(adapted.router_parameters().values()),
    }
    if frozen is not None:
        for parameter in groups[frozen]:
            parameter.requires_grad_(False)
        groups[frozen] = []
    if not any(groups.values()):
        raise SamlError(f"{name}: {frozen} is frozen and there is nothing else to train; take `frozen` away")
    return groups
