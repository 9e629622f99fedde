"""Quantising a model: its weights to NF4."""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from saml.config.settings import QuantisationSettings, typed
from saml.models.nf4 import pack, quantisable
from saml.models.store import full_state, load_model, save_model
from saml.runtime.errors import SamlError
from saml.tracking import RunRecord


def quantise(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    weights: Path,
    description: Path,
    out_weights: Path,
    out_description: Path,
    record: Path,
    corpus: str | None = None,
) -> None:
    """The stage: write the NF4 model of a full-precision one and note both sizes.

    Args:
        experiment: name of the experiment.
        settings: the config's section `quantisation`, under that key: block_size, and double to quantise the
            scales too.
        weights: input, the full-precision model.
        description: input, the JSON beside it, with tokenizer.json.
        out_weights: output, safetensors.
        out_description: output, the JSON beside it; tokenizer.json goes beside that.
        record: output, the run record.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: the model is missing, damaged or quantised already, or a setting is missing or unknown.
    """
    recogniser, content = load_model(weights, description)
    if content["precision"] != "fp32":
        raise SamlError(f"{weights}: already quantised; give the model in full precision")
    how = asdict(typed(QuantisationSettings, settings))
    run = RunRecord(
        stage="quantise", experiment=experiment, settings=settings, corpus=corpus, family=content["family"]
    )
    state = full_state(recogniser)
    names = quantisable(recogniser)
    packed: dict[str, Tensor] = {}
    for name in names:
        packed |= pack(state[name], name, **how)
    kept = {name: tensor for name, tensor in state.items() if name not in names}
    save_model(
        recogniser,
        out_weights,
        out_description,
        quantisation=how,
        state={**kept, **packed},
        longest_seconds=content.get("longest_seconds"),
    )
    before, after = weights.stat().st_size, out_weights.stat().st_size
    parameters = sum(tensor.numel() for tensor in state.values())
    share = sum(state[name].numel() for name in names) / parameters
    print(
        f"{before / 1e6:.2f} MB -> {after / 1e6:.2f} MB, {before / after:.2f} times smaller", file=sys.stderr
    )
    for key, size in (("model", after), ("full_precision", before)):
        run.size(key, size)
    run.score("parameters", parameters)
    run.score("quantised_share", share)
    run.score("ratio", before / after)
    run.write(record)
