"""Expert initialisation and pre-training: what all target speakers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lhotse import MonoCut
from torch.nn import functional as F

from saml.adapters.adapted import AdaptedRecogniser, adapter_spec
from saml.adapters.store import State, load_adapter, refuse_other_spec, save_adapter
from saml.models.store import load_model
from saml.runtime.errors import SamlError, about
from saml.tracking import RunRecord
from saml.training.adapter_task import adapter_task
from saml.training.batch import Batch
from saml.training.checkpoints import Checkpoints
from saml.training.common import (
    device,
    identity,
    in_bfloat16,
    make_deterministic,
    read_cuts,
    section_for_arm,
    seed_for,
    shuffled,
)
from saml.training.data import Examples
from saml.training.engine import Task, run
from saml.training.optim import SeparateUpdates
from saml.training.parts import seconds_at_once

if TYPE_CHECKING:
    from saml.training.engine import Joined


def initialise_experts(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    weights: Path,
    description: Path,
    cuts: Path,
    out_adapter: Path,
    out_description: Path,
    record: Path,
    work: Path | None = None,
    checkpoint_seconds: float = float("inf"),
    corpus: str | None = None,
) -> None:
    """Train one LoRA for each of the E initial speakers, all in the same batches by one-hot routes.

    Each expert has its own speaker's batches, loss mean, clipping and optimiser state, so that it is
    trained as if alone; feed-forward LoRAs are trained per expert too, and thrown away afterwards.

    Args:
        experiment: name of the experiment.
        settings: the config's sections `arm` (the entry of this arm), `adapters`, `pretraining` and
            `initial_speakers`, under those keys.
        arm: name of the arm; `seed` the seed.
        seed: decides the start of the experts and the order of their speech.
        weights: input, the model; `description` its JSON.
        description: input.
        cuts: input, the pre-training pool.
        out_adapter: output; `out_description` its JSON.
        out_description: output.
        record: output, the run record.
        work: where checkpoints live until the job is done.
        checkpoint_seconds: one is left so often; after an epoch one is left in any case.
        corpus: name of the corpus, for the record.
    """
    base, content = load_model(weights, description)
    record_ = _record("initialise-experts", experiment, settings, arm, seed, corpus, content)
    spec = adapter_spec(settings["arm"], settings["adapters"]).for_initialisation()
    adapted = _adapted(base, spec, seed)
    examples = Examples(read_cuts(cuts), base)
    train = examples.part("train")
    speakers = initial_speakers(train, settings["initial_speakers"], spec.experts)
    own = [[cut for cut in train if cut.supervisions[0].speaker == speaker] for speaker in speakers]
    how = section_for_arm(settings, "pretraining")

    def prepare(batch: Batch) -> Batch:
        adapted.fix_routes(F.one_hot(batch.groups, spec.experts).to(batch.features.dtype))
        return batch

    task = Task(
        name=f"initialising {spec.experts} experts of {arm}",
        recogniser=adapted,
        examples=examples,
        batches=lambda index: joint_batches(own, how, seed, index),
        utterances=shares(settings)[0],
        updates=SeparateUpdates(
            list(adapted.expert_parameters().values()),
            learning_rate=how["learning_rate"].get("initialisation", how["learning_rate"]["expert"]),
            clip_norm=how["clip_norm"],
            decay=how.get("decay", 1.0),
        ),
        get_state=adapted.state,
        set_state=adapted.load_state,
        train=adapted.train,
        eval=adapted.eval,
        ctc_weight=how["ctc_weight"],
        ctc_backend=how.get("ctc_backend", "torch"),
        bfloat16=in_bfloat16(how),
        prepare=prepare,
        # Of each expert's speaker a whole batch: at once, many experts would need much memory.
        seconds_at_once=seconds_at_once(device()),
        device=device(),
    )
    checkpoints = Checkpoints(
        work, identity(settings, seed, examples.cuts, cuts, weights), seconds=checkpoint_seconds
    )
    run(task, record_, checkpoints)
    origin = {"arm": arm, "seed": seed, "initial_speakers": list(speakers), "settings": dict(settings)}
    save_adapter(
        out_adapter, out_description, spec=spec, folds=[adapted.state()], base=content, origin=origin
    )
    _finish(record_, record, task, out_adapter, checkpoints)


def pretrain(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    weights: Path,
    description: Path,
    cuts: Path,
    out_adapter: Path,
    out_description: Path,
    record: Path,
    experts: Path | None = None,
    experts_description: Path | None = None,
    work: Path | None = None,
    checkpoint_seconds: float = float("inf"),
    corpus: str | None = None,
) -> None:
    """Train an arm's adapters on the pre-training pool; the best epoch on its dev part is kept.

    A mixture starts from the experts of `initialise_experts` and shows the utterances that those have left
    of the budget; one LoRA starts from zero and shows all of it. Other arguments as there.

    Args:
        experiment: name of the experiment.
        settings: as for `initialise_experts`.
        arm: name of the arm.
        seed: decides routers, feed-forward LoRAs and the order of the speech.
        weights: input, the model.
        description: input, its JSON.
        cuts: input, the pre-training pool.
        out_adapter: output.
        out_description: output, its JSON.
        record: output, the run record.
        experts: input, what `initialise_experts` wrote; needed by an arm with several experts.
        experts_description: input, its JSON.
        work: where checkpoints live until the job is done.
        checkpoint_seconds: one is left so often; after an epoch one is left in any case.
        corpus: name of the corpus, for the record.
    """
    base, content = load_model(weights, description)
    record_ = _record("pretrain", experiment, settings, arm, seed, corpus, content)
    spec = adapter_spec(settings["arm"], settings["adapters"])
    adapted = _adapted(base, spec, seed)
    if spec.experts > 1:
        if experts is None or experts_description is None:
            raise SamlError(f"arm {arm} has {spec.experts} experts: give --experts and --experts-description")
        initialised = load_adapter(experts, experts_description, content)
        refuse_other_spec(initialised, spec.for_initialisation(), experts, arm)
        with about(experts):
            adapted.load_state(_with_experts(adapted, initialised.folds[0]))
    examples = Examples(read_cuts(cuts), base)
    task = adapter_task(
        adapted,
        examples,
        name=f"pre-training {arm}",
        train=examples.part("train"),
        dev=examples.part("dev"),
        utterances=shares(settings)[1] if spec.experts > 1 else sum(shares(settings)),
        how=section_for_arm(settings, "pretraining"),
        seed=seed,
    )
    checkpoints = Checkpoints(
        work, identity(settings, seed, examples.cuts, cuts, weights, experts), seconds=checkpoint_seconds
    )
    scores = run(task, record_, checkpoints)
    origin = {"arm": arm, "seed": seed, "settings": dict(settings)}
    save_adapter(
        out_adapter, out_description, spec=spec, folds=[adapted.state()], base=content, origin=origin
    )
    for name, value in scores.items():
        record_.score(f"dev/{name}", value)
    _finish(record_, record, task, out_adapter, checkpoints)


def shares(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Utterances shown in expert initialisation and in the pre-training of a mixture; together the budget."""
    how = section_for_arm(settings, "pretraining")
    first = round(how["utterances"] * how["initialisation_share"])
    return first, how["utterances"] - first


def initial_speakers(cuts: Sequence[MonoCut], chosen: Sequence[str] | None, experts: int) -> list[str]:
    """The initial speakers: those `chosen`, or the first of the pool in its own order.

    Raises SamlError when their number is not that of the experts, or one has no speech to train on.
    """
    present = list(dict.fromkeys(cut.supervisions[0].speaker for cut in cuts))
    speakers = list(chosen) if chosen is not None else present[:experts]
    if len(speakers) != experts:
        raise SamlError(f"initial_speakers: {len(speakers)} for {experts} experts; give one for each")
    for speaker in speakers:
        if speaker not in present:
            raise SamlError(f"initial_speakers: {speaker!r} has no utterance in the pre-training pool")
    return speakers


def joint_batches(
    own: Sequence[Sequence[MonoCut]], how: Mapping[str, Any], seed: int, index: int
) -> list[Joined]:
    """Batch k of every group joined into one, each with its own group; a group that has run out is absent.

    Groups take turns in a batch: cut short by the budget, it loses as much of each.
    """
    epochs = [shuffled(cuts, how, seed, index) for cuts in own]
    joined: list[Joined] = []
    for step in zip_longest(*epochs, fillvalue=()):
        turns = zip_longest(*step)
        members = [(cut, group) for turn in turns for group, cut in enumerate(turn) if cut is not None]
        joined.append(([cut for cut, _ in members], [group for _, group in members]))
    return joined


def _with_experts(adapted: AdaptedRecogniser, experts: State) -> State:
    """The fresh state with the attention experts of `experts`; its feed-forward LoRAs and routers stay."""
    mixed = [name for name, parameter in adapted.expert_parameters().items() if len(parameter) > 1]
    return {**adapted.state(), **{name: experts[name] for name in mixed}}


def _adapted(base: Any, spec: Any, seed: int) -> AdaptedRecogniser:
    adapted = AdaptedRecogniser(base, spec, seed=seed_for("adapters", seed))
    adapted.to(device())
    make_deterministic()
    torch.manual_seed(seed_for("dropout", seed))
    return adapted


def _record(
    stage: str,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    corpus: str | None,
    content: Mapping[str, Any],
) -> RunRecord:
    return RunRecord(
        stage=stage,
        experiment=experiment,
        arm=arm,
        seed=seed,
        settings=settings,
        corpus=corpus,
        family=content["family"],
    )


def _finish(run_record: RunRecord, record: Path, task: Task, adapter: Path, checkpoints: Checkpoints) -> None:
    run_record.score("utterances", task.utterances)
    run_record.size("adapter", adapter.stat().st_size)
    run_record.write(record)
    checkpoints.remove()
