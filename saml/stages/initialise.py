"""Expert initialisation: one LoRA per initial speaker; together they become the experts of a mixture."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.adapted import State
from saml.adapters.store import save_adapter
from saml.config.settings import PretrainingSettings, typed
from saml.corpora.manifests import read_cuts
from saml.models.store import load_model
from saml.runtime.devices import seed_for
from saml.runtime.errors import SamlError
from saml.tracking import RunRecord
from saml.training.adapter_training import adapter_spec, adapter_task, fresh_adapters, train_adapters
from saml.training.checkpoints import Checkpoints, identity
from saml.training.data import Examples


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
    """Train one LoRA for each of the E initial speakers, all in the same steps.

    Each is an adapter of its own with independent A, and sees its share of the initialisation budget. The
    feed-forward LoRAs that are trained beside the experts are discarded.

    Args:
        experiment: name of the experiment.
        settings: the config's sections `arm` (the entry of this arm), `adapters`, `pretraining` and
            `initial_speakers`, under those keys.
        arm: name of the arm.
        seed: decides the start of the experts and the order of the utterances.
        weights: input, the model.
        description: input, its JSON.
        cuts: input, the pre-training pool.
        out_adapter: output, the experts.
        out_description: output, its JSON.
        record: output, the run record.
        work: folder of checkpoints until the job is done.
        checkpoint_seconds: the time between checkpoints; there is one after each epoch in any case.
        corpus: name of the corpus, for the record.

    Raises:
        Diverged: a loss or a weight is not finite.
        SamlError: the initial speakers do not fit, or an input is missing or damaged.
        Interrupted: the job was asked to stop; started again, it resumes.
    """
    base, content = load_model(weights, description)
    run = RunRecord(
        stage="initialise-experts",
        experiment=experiment,
        arm=arm,
        seed=seed,
        settings=settings,
        corpus=corpus,
        family=content["family"],
    )
    how, spec = typed(PretrainingSettings, settings), adapter_spec(settings)
    count = spec.experts
    adapted = fresh_adapters(base, spec.one_expert(), seed, adapters=count, independent=True)
    examples = Examples(read_cuts(cuts), base)
    train = examples.part("train")
    speakers = initial_speakers(train, settings["initial_speakers"], count)
    budget = utterance_shares(how)[0]
    tasks = [
        adapter_task(
            adapted,
            index,
            how,
            name=f"initialising expert {index} of {arm} (speaker {speaker})",
            record=run,
            curve=f"expert{index}/",
            train=[cut for cut in train if cut.supervisions[0].speaker == speaker],
            dev=(),
            utterances=budget // count + (index < budget % count),
            seed=seed,
        )
        for index, speaker in enumerate(speakers)
    ]
    checkpoints = Checkpoints(
        work, identity(settings, seed, examples.cuts, cuts, weights), seconds=checkpoint_seconds
    )
    progressions = train_adapters(
        adapted,
        examples,
        tasks,
        how,
        checkpoints,
        name=f"initialising {count} experts of {arm}",
        # A batch of every speaker at once would need much memory.
        split_steps="long",
        dropout_seed=seed_for("dropout", seed),
        expert_rate=how.initialisation_rate,
    )
    for progression in progressions:
        progression.check()
    state = as_experts([adapted.state(index) for index in range(count)], adapted.attention_parameters())
    origin = {"arm": arm, "seed": seed, "initial_speakers": list(speakers), "settings": dict(settings)}
    save_adapter(
        out_adapter, out_description, spec=spec.experts_only(), folds=[state], base=content, origin=origin
    )
    run.score("utterances", budget)
    run.size("adapter", out_adapter.stat().st_size)
    run.write(record)
    checkpoints.remove()


def utterance_shares(how: PretrainingSettings) -> tuple[int, int]:
    """Utterances shown in expert initialisation and in the pre-training of a mixture: together the budget."""
    first = round(how.utterances * how.initialisation_share)
    return first, how.utterances - first


def initial_speakers(cuts: Sequence[MonoCut], chosen: Sequence[str] | None, experts: int) -> list[str]:
    """The initial speakers: those `chosen`, or the first of the pool in its own order.

    Raises SamlError when their number is not that of the experts, or one has no utterances to train on.
    """
    return choose_speakers([cut.supervisions[0].speaker for cut in cuts], chosen, experts)


def choose_speakers(trained_on: Iterable[str], chosen: Sequence[str] | None, experts: int) -> list[str]:
    """The initial speakers: those `chosen`, or the first of the speakers of the pool's training utterances.

    Raises SamlError as `initial_speakers` does.
    """
    present = list(dict.fromkeys(trained_on))
    if chosen is None and len(present) < experts:
        raise SamlError(
            f"role pretrain: {len(present)} speakers with training utterances are fewer than {experts} "
            "experts; give the role to more speakers, or lower `experts` of the arm"
        )
    speakers = list(chosen) if chosen is not None else present[:experts]
    if len(speakers) != experts:
        raise SamlError(f"initial_speakers: {len(speakers)} for {experts} experts; give one for each")
    for speaker in speakers:
        if speaker not in present:
            raise SamlError(
                f"initial_speakers: {speaker!r} has no training utterance in the role pretrain; name a "
                "speaker of that role"
            )
    return speakers


def as_experts(adapters: Sequence[State], names: Iterable[str]) -> State:
    """The tensors `names` of adapters with one expert each, `(1, ...)`, as one adapter `(experts, ...)`."""
    return {name: torch.cat([adapter[name] for adapter in adapters]) for name in names}
