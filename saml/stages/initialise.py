"""Expert initialisation: one LoRA per initial speaker; together they become the experts of a mixture.

An arm may say that its experts start from something else (`experts_from`): from a LoRA for each cluster of
similar speakers, or all of them from one LoRA that is trained on everybody.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import MonoCut

from saml.adapters.starts import as_experts
from saml.adapters.store import save_adapter
from saml.config.settings import AdapterSettings, PretrainingSettings, typed
from saml.corpora.manifests import read_cuts
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic, seed_for
from saml.stages.expert_groups import Group, by_cluster, by_initial_speaker
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
    feed-forward LoRAs that are trained beside the experts are discarded. Where `experts_from` is "clusters"
    there is a LoRA for each cluster of speakers instead. Where it is "lora", one LoRA sees the whole budget,
    from everybody, and is kept with its feed-forward part: all experts start from it.

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
    examples = Examples(read_cuts(cuts), base)
    groups = _groups(settings, examples.part("train"), base, spec.experts, seed)
    count = len(groups)
    adapted = fresh_adapters(base, spec.one_expert(), seed, adapters=count, independent=True)
    budget = utterance_shares(how)[0]
    tasks = [
        adapter_task(
            adapted,
            index,
            how,
            name=f"initialising expert {index} of {arm} ({_whose(group)})",
            record=run,
            curve=f"expert{index}/",
            train=group.cuts,
            dev=(),
            utterances=budget // count + (index < budget % count),
            seed=seed,
        )
        for index, group in enumerate(groups)
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
    if _from_one_lora(settings):
        stored, state = spec.one_expert(), adapted.state()
    else:
        states = [adapted.state(index) for index in range(count)]
        stored, state = spec.experts_only(), as_experts(states, adapted.attention_parameters())
    speakers = [group.speakers for group in groups]
    origin = {"arm": arm, "seed": seed, "initial_speakers": speakers, "settings": dict(settings)}
    save_adapter(out_adapter, out_description, spec=stored, folds=[state], base=content, origin=origin)
    run.score("utterances", budget)
    run.size("adapter", out_adapter.stat().st_size)
    run.file(out_adapter)
    run.file(out_description)
    run.write(record)
    checkpoints.remove()


def utterance_shares(how: PretrainingSettings) -> tuple[int, int]:
    """Utterances shown in expert initialisation and in the pre-training of a mixture: together the budget."""
    first = round(how.utterances * how.initialisation_share)
    return first, how.utterances - first


def _groups(
    settings: Mapping[str, Any], train: Sequence[MonoCut], base: Recogniser, experts: int, seed: int
) -> list[Group]:
    """Whose speech each LoRA is trained on, as the arm's `experts_from` says."""
    start = typed(AdapterSettings, settings).experts_from
    if start == "initial_speakers":
        return by_initial_speaker(train, settings["initial_speakers"], experts)
    if start == "clusters":
        make_deterministic()
        as_module(base).to(device()).eval()
        return by_cluster(train, base, experts, seed=seed_for("clusters", seed))
    return [Group(sorted({cut.supervisions[0].speaker for cut in train}), list(train))]


def _from_one_lora(settings: Mapping[str, Any]) -> bool:
    return typed(AdapterSettings, settings).experts_from == "lora"


def _whose(group: Group) -> str:
    many = len(group.speakers) > 1
    return f"{len(group.speakers)} speakers" if many else f"speaker {group.speakers[0]}"
