"""Speaker adaptation: one arm, one target speaker, one seed; one adapter for each fold of the speaker."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from saml.adapters.adapted import AdaptedRecogniser, adapter_spec
from saml.adapters.store import State, load_adapter, refuse_other_spec, save_adapter
from saml.corpora.partition import enrolled
from saml.errors import SamlError
from saml.models.store import load_model
from saml.tracking import RunRecord
from saml.training.adapter_task import adapter_task
from saml.training.checkpoints import Checkpoints
from saml.training.common import (
    device,
    identity,
    make_deterministic,
    read_cuts,
    read_splits,
    section_for_arm,
    seed_for,
)
from saml.training.examples import Examples
from saml.training.loop import run


def adapt(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    speaker: str,
    seed: int,
    weights: Path,
    description: Path,
    cuts: Path,
    splits: Path,
    out_adapter: Path,
    out_description: Path,
    record: Path,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    work: Path | None = None,
    checkpoint_seconds: float = float("inf"),
    corpus: str | None = None,
) -> None:
    """Train an arm's adapter on (so much of) a speaker's train part; the best pass on the dev part is kept.

    The state before the first pass is a candidate too: adapting never has to make things worse on dev.

    Args:
        experiment: name of the experiment.
        settings: the config's sections `arm` (the entry of this arm), `adapters` and `adaptation`, and of
            `partition` the key `enrolment`: at most so many training utterances (null: all).
        arm: name of the arm.
        speaker: whom to adapt to.
        seed: decides fresh adapters and the order of the speech; all arms hear it in the same order.
        weights: input, the model.
        description: input, its JSON.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds.
        out_adapter: output.
        out_description: output, its JSON.
        record: output, the run record of the adaptation, which decoding takes over into its own.
        adapter: input, the pre-trained adapter; needed by an arm that is pre-trained.
        adapter_description: input, its JSON.
        work: where checkpoints live until the job is done.
        checkpoint_seconds: one is left so often; after a pass one is left in any case.
        corpus: name of the corpus, for the record.
    """
    base, content = load_model(weights, description)
    record_ = RunRecord(
        stage="adapt",
        experiment=experiment,
        arm=arm,
        speaker=speaker,
        seed=seed,
        settings=settings,
        corpus=corpus,
        family=content["family"],
    )
    spec = adapter_spec(settings["arm"], settings["adapters"])
    adapted = AdaptedRecogniser(base, spec, seed=seed_for("adapters", seed))
    adapted.to(device())
    make_deterministic()
    start = _start(adapted, settings["arm"], arm, adapter, adapter_description, content)
    examples = Examples(read_cuts(cuts), base)
    folds = read_splits(splits, {cut.id for cut in examples.cuts})
    checkpoints = Checkpoints(
        work,
        identity(settings, seed, examples.cuts, cuts, splits, weights, adapter),
        seconds=checkpoint_seconds,
    )
    how = section_for_arm(settings, "adaptation")
    states = []
    for index, fold in enumerate(folds):
        adapted.load_state(start)
        torch.manual_seed(seed_for("dropout", seed, speaker, index))
        prefix = f"fold{index}/" if len(folds) > 1 else ""
        train = examples.choose(enrolled(fold.train, settings["partition"]["enrolment"], speaker))
        task = adapter_task(
            adapted,
            examples,
            name=f"adapting {arm} to {speaker} {prefix}".rstrip("/ "),
            train=train,
            dev=examples.choose(fold.dev),
            utterances=how["passes"] * len(train),
            how=how,
            seed=seed,
        )
        task.curve = prefix
        scores = run(task, record_, checkpoints.scope(f"fold{index}"))
        states.append(adapted.state())
        record_.score(f"{prefix}train/utterances", len(train))
        for name, value in scores.items():
            record_.score(f"{prefix}dev/{name}", value)
    origin = {"arm": arm, "speaker": speaker, "seed": seed, "settings": dict(settings)}
    save_adapter(out_adapter, out_description, spec=spec, folds=states, base=content, origin=origin)
    record_.size("adapter", out_adapter.stat().st_size)
    record_.file(out_adapter)
    record_.file(out_description)
    record_.write(record)
    checkpoints.remove()


def _start(
    adapted: AdaptedRecogniser,
    entry: Mapping[str, Any],
    arm: str,
    adapter: Path | None,
    description: Path | None,
    content: Mapping[str, Any],
) -> State:
    """The state that every fold starts from: fresh, or the pre-trained one."""
    if not entry.get("pretrained", False):
        return adapted.state()
    if adapter is None or description is None:
        raise SamlError(f"arm {arm} is pre-trained: give --adapter and --adapter-description")
    stored = load_adapter(adapter, description, content)
    refuse_other_spec(stored, adapted.spec, adapter, arm)
    return stored.folds[0]
