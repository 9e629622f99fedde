"""Adaptation as it is told: one fold after another, each by the loop that trains one thing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from saml.adapters.adapted import AdaptedRecogniser
from saml.models.store import load_model
from saml.stages.adaptation import Adaptation
from saml.training.checkpoints import Checkpoints
from saml.training.common import device, make_deterministic, read_cuts, read_splits, seed_for
from saml.training.data import Examples
from saml.training.engine import run


def adapt_one_by_one(
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
) -> None:
    """Write what `saml.stages.adapt.adapt` writes, and a crowd must equal."""
    base, content = load_model(weights, description)
    what = Adaptation(experiment, settings, arm, seed, None, content)
    run_record = what.new_record(speaker)
    adapted = AdaptedRecogniser(base, what.spec, seed=seed_for("adapters", seed))
    adapted.to(device())
    make_deterministic()
    start = what.start(adapted.state(), adapter, adapter_description)
    examples = Examples(read_cuts(cuts), base)
    folds = read_splits(splits, {cut.id for cut in examples.cuts})
    states = []
    for index in range(len(folds)):
        adapted.load_state(start)
        torch.manual_seed(seed_for("dropout", seed, speaker, index))
        task = what.fold_task(adapted, examples, speaker, folds, index, run_record)
        scores = run(task, run_record, Checkpoints(None, {}))
        states.append(adapted.state())
        for name, value in scores.items():
            run_record.score(f"{task.curve}dev/{name}", value)
    what.write(speaker, folds, states, run_record, out_adapter, out_description, record)
