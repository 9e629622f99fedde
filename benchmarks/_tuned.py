"""Adapters of the learning-rate sweep, and the speech of the tuning speakers whom they were adapted to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lhotse import MonoCut

from saml.adapters.store import StoredAdapter, load_adapter
from saml.corpora.manifests import read_cuts
from saml.corpora.split_files import read_splits
from saml.runtime import layout
from saml.runtime.layout import place
from saml.tuning.rates import adaptation_trial


def weights_of(results: Path, precision: str) -> Path:
    """The model of an experiment in this precision."""
    return place(results, layout.MODEL, model=layout.model_name(precision)) / "model.safetensors"


def tuned_adapter(
    results: Path, config: Mapping[str, Any], arm: str, rate: float, speaker: str, content: Mapping[str, Any]
) -> StoredAdapter:
    """The adapter of a tuning speaker at a learning rate; `content` describes its model."""
    trial = adaptation_trial(results, arm, rate, speaker, config["tuning"]["seed"])
    return load_adapter(trial / "adapter.safetensors", trial / "adapter.json", content)


def parts_of(results: Path, speaker: str) -> dict[str, list[MonoCut]]:
    """The utterances of a tuning speaker by part: train, dev, test."""
    folder = place(results, layout.SPEECH, speaker=speaker)
    cuts = {cut.id: cut for cut in read_cuts(folder / "cuts.jsonl.gz")}
    (fold,) = read_splits(folder / "splits.json", cuts)
    named = {"train": fold.train, "dev": fold.dev, "test": fold.test}
    return {part: [cuts[utterance] for utterance in utterances] for part, utterances in named.items()}
