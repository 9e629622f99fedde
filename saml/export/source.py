"""What is exported: an adapter as one LoRA, and the Whisper that it was trained on."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saml.adapters.base_model import model_of
from saml.adapters.spec import AdapterSpec
from saml.adapters.store import State, StoredAdapter, load_adapter
from saml.models.recogniser import Recogniser
from saml.models.store import load_model
from saml.models.tokenisers.byte_level import WhisperTokeniser
from saml.models.whisper import WhisperRecogniser
from saml.runtime import layout
from saml.runtime.errors import SamlError
from saml.runtime.layout import factors, place, speaker_id
from saml.stages.prune import prune

# Of all published Whispers; other programs know no other.
CONTEXT_SECONDS = 30.0


@dataclass(frozen=True)
class Source:
    """A LoRA of one expert, `state` by `spec`, its description, its model and that model's description."""

    spec: AdapterSpec
    state: State
    origin: dict[str, Any]
    base: WhisperRecogniser
    content: dict[str, Any]


def open_source(adapter: Path, weights: Path | None = None, fold: int | None = None) -> Source:
    """Read an adapter and its model.

    Args:
        adapter: adapter.safetensors, with adapter.json beside it.
        weights: the model that it was trained on; None: the one of its experiment, or in the user's cache,
            found by the checksum.
        fold: which state of an adapter that was trained by cross-validation.

    Raises:
        SamlError: a file is missing or damaged, the model is not found or is no Whisper with its own
            vocabulary and context, the adapter has several states and none is chosen, is a mixture whose
            speaker's recordings are not found, or has a shared LoRA beside its only expert.
    """
    description = adapter.with_suffix(".json")
    weights = model_of(adapter) if weights is None else weights
    base, content = load_model(weights, weights.with_suffix(".json"))
    stored = load_adapter(adapter, description, content)
    if stored.spec.experts > 1:
        stored = _collapsed(adapter, weights, content)
    if stored.spec.shared == "lora":
        raise SamlError(
            f"{adapter}: one expert beside a shared LoRA, which no other program knows; make one LoRA of the "
            "whole mixture with `saml prune --collapse` and export that"
        )
    _refuse_others(base, weights)
    assert isinstance(base, WhisperRecogniser)
    return Source(stored.spec, _state(stored, fold), stored.description, base, content)


def full_precision_of(weights: Path) -> Path:
    """The full-precision model beside a quantised one. Raises SamlError where there is none."""
    found = weights.parent.parent / "base" / weights.name
    if not found.is_file():
        raise SamlError(
            f"{found}: there is no full-precision model beside {weights}; merge into the quantised one"
        )
    return found


def _collapsed(adapter: Path, weights: Path, content: dict[str, Any]) -> StoredAdapter:
    """A mixture as one LoRA, at the mean route of the utterances that it was trained on."""
    cuts, splits = _speech(adapter)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "adapter.safetensors")
        prune(weights=weights, adapter=adapter, cuts=cuts, splits=splits, out_adapter=out)
        return load_adapter(out, out.with_suffix(".json"), content)


def _speech(adapter: Path) -> tuple[Path, Path]:
    """The cuts and splits of a speaker, from where the experiment keeps them."""
    path = adapter.resolve()
    for results in path.parents:
        inside = path.parent.relative_to(results).as_posix()
        for template, splits in ((layout.ADAPTED, "splits.json"), (layout.TO_USE, "use.json")):
            found = factors(template, inside)
            if found is None:
                continue
            folder = place(results, layout.SPEECH, speaker=speaker_id(found["speaker"]))
            if (folder / splits).is_file():
                return folder / "cuts.jsonl.gz", folder / splits
    raise SamlError(
        f"{adapter}: a mixture of experts, and the recordings that say how it mixes are not beside it; make "
        "one LoRA of it with `saml prune --collapse` and export that"
    )


def _refuse_others(base: Recogniser, weights: Path) -> None:
    if not isinstance(base, WhisperRecogniser) or not isinstance(base.tokeniser, WhisperTokeniser):
        raise SamlError(
            f"{weights}: no other program knows this model; only a Whisper with Whisper's own vocabulary can "
            "be exported"
        )
    seconds = base.settings["features"]["pad_seconds"]
    if seconds != CONTEXT_SECONDS:
        raise SamlError(
            f"{weights}: hears {seconds:g} s, and other programs give every Whisper {CONTEXT_SECONDS:g} s"
        )


def _state(stored: StoredAdapter, fold: int | None) -> State:
    count = len(stored.folds)
    if fold is None and count > 1:
        raise SamlError(
            f"{stored.path}: {count} adapters of a cross-validation, each for testing; export the one to "
            f"use, which is trained on everything, or choose one with --fold 0 to {count - 1}"
        )
    if fold is not None and not 0 <= fold < count:
        raise SamlError(f"{stored.path}: has no fold {fold}; there are 0 to {count - 1}")
    return stored.folds[fold or 0]
