"""Pre-training: an arm's adapters, and routers, on many speakers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.starts import from_lora
from saml.adapters.store import load_adapter, refuse_other_spec, save_adapter
from saml.config.settings import PretrainingSettings, typed
from saml.corpora.manifests import read_cuts
from saml.models.store import load_model
from saml.runtime.devices import seed_for
from saml.runtime.errors import SamlError, about
from saml.stages.initialise import utterance_shares
from saml.tracking import RunRecord
from saml.training.adapter_training import adapter_spec, adapter_task, fresh_adapters, train_adapters
from saml.training.checkpoints import Checkpoints, identity
from saml.training.data import Examples


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
    """Train an arm's adapter on the pre-training pool; the best epoch on its dev part is kept.

    A mixture starts from the experts (or the one LoRA) of `initialise_experts` and sees the utterances that
    these have left of the budget; one LoRA starts at zero and sees all of it. Of a table of routes, whose
    speakers are those of the pool, the mean is kept: it is where another speaker starts.

    Args:
        experiment: name of the experiment.
        settings: the config's sections `arm` (the entry of this arm), `adapters` and `pretraining`, under
            those keys.
        arm: name of the arm.
        seed: decides routers, feed-forward LoRAs and the order of the utterances.
        weights: input, the model.
        description: input, its JSON.
        cuts: input, the pre-training pool.
        out_adapter: output.
        out_description: output, its JSON.
        record: output, the run record.
        experts: input, what `initialise_experts` wrote; needed by an arm with several experts.
        experts_description: input, its JSON.
        work: folder of checkpoints until the job is done.
        checkpoint_seconds: the time between checkpoints; there is one after each epoch in any case.
        corpus: name of the corpus, for the record.

    Raises:
        Diverged: a loss or a weight is not finite.
        SamlError: an input is missing or damaged, or belongs to another arm or model.
        Interrupted: the job was asked to stop; started again, it resumes.
    """
    base, content = load_model(weights, description)
    run = RunRecord(
        stage="pretrain",
        experiment=experiment,
        arm=arm,
        seed=seed,
        settings=settings,
        corpus=corpus,
        family=content["family"],
    )
    how, spec = typed(PretrainingSettings, settings), adapter_spec(settings)
    examples = Examples(read_cuts(cuts), base)
    speakers = sorted({cut.supervisions[0].speaker for cut in examples.cuts})
    adapted = fresh_adapters(base, spec, seed, speakers=speakers if spec.routes_from == "table" else ())
    budget = how.utterances
    if spec.experts > 1:
        _load_experts(adapted, arm, experts, experts_description, content, seed)
        budget = utterance_shares(how)[1]
    task = adapter_task(
        adapted,
        0,
        how,
        name=f"pre-training {arm}",
        record=run,
        train=examples.part("train"),
        dev=examples.part("dev"),
        utterances=budget,
        seed=seed,
    )
    checkpoints = Checkpoints(
        work, identity(settings, seed, examples.cuts, cuts, weights, experts), seconds=checkpoint_seconds
    )
    (progression,) = train_adapters(
        adapted,
        examples,
        [task],
        how,
        checkpoints,
        name=task.name,
        split_steps="never",
        dropout_seed=seed_for("dropout", seed),
    )
    progression.check()
    origin = {"arm": arm, "seed": seed, "settings": dict(settings)}
    save_adapter(
        out_adapter,
        out_description,
        spec=spec,
        folds=[adapted.state_for_anyone()],
        base=content,
        origin=origin,
    )
    for name, value in progression.kept[0].dev.items():
        run.score(f"dev/{name}", value)
    run.score("utterances", budget)
    run.size("adapter", out_adapter.stat().st_size)
    run.file(out_adapter)
    run.file(out_description)
    run.write(record)
    checkpoints.remove()


def _load_experts(
    adapted: AdaptedRecogniser,
    arm: str,
    experts: Path | None,
    description: Path | None,
    content: Mapping[str, Any],
    seed: int,
) -> None:
    """Set the attention experts to the initialised ones; routers and feed-forward LoRA stay fresh.

    From one LoRA they all start, feed-forward included.
    """
    spec = adapted.spec
    if experts is None or description is None:
        raise SamlError(f"arm {arm} has {spec.experts} experts: give --experts and --experts-description")
    initialised = load_adapter(experts, description, content)
    one = initialised.spec.experts == 1
    refuse_other_spec(initialised, spec.one_expert() if one else spec.experts_only(), experts, arm)
    with about(experts):
        if one:
            state = from_lora(adapted, initialised.folds[0], seed=seed_for("experts", seed))
        else:
            state = {**adapted.state(), **initialised.folds[0]}
        adapted.load_state(state)
