"""Taking over a base model that somebody else trained."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saml.models.checkpoints.source import checksums
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.store import full_state, save_model
from saml.tracking import RunRecord


def import_base(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    out_weights: Path,
    out_description: Path,
    record: Path,
    corpus: str | None = None,
) -> None:
    """The stage: store a given checkpoint as this pipeline's base model.

    Args:
        experiment: name of the experiment.
        settings: the config's section `model`, under that key.
        out_weights: output, safetensors.
        out_description: output, the JSON beside it; tokenizer.json goes beside that.
        record: output, the run record; it names the checkpoint and the checksums of its files.
        corpus: name of the corpus, for the record.
    """
    model = settings["model"]
    checkpoint = open_checkpoint(model)
    network = {**model[model["family"]], **checkpoint.settings}  # the sizes that it has, not the config's
    origin: dict[str, Any] = {
        "name": checkpoint.path.resolve().name,
        "sha256": checksums(checkpoint.path),
    }
    if checkpoint.caution is not None:
        origin["caution"] = checkpoint.caution
        print(f"{checkpoint.path}: {checkpoint.caution}", file=sys.stderr)
    run = RunRecord(
        stage="import-base",
        experiment=experiment,
        settings={"model": {**model, model["family"]: network}, "checkpoint": origin},
        corpus=corpus,
        family=model["family"],
    )
    recogniser = read_recogniser(checkpoint)
    save_model(recogniser, out_weights, out_description)
    run.size("model", out_weights.stat().st_size)
    run.score("parameters", sum(tensor.numel() for tensor in full_state(recogniser).values()))
    run.write(record)
