"""The model that transcribes: its weights, in memory as they are or packed, and the adapters in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import StoredAdapter, load_adapter
from saml.features.log_mel import LogMelConfig, feature_config
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import load_model
from saml.models.tokenisers.byte_level import WhisperTokeniser
from saml.runtime.devices import device
from saml.runtime.errors import SamlError, about

# A Conformer takes what it was trained on, and this in any case: its memory grows with the square.
_LONGEST_SECONDS = 20.0


@dataclass(frozen=True)
class Transcriber:
    """A recogniser ready to use, its features, and the longest segment that it takes, in seconds.

    `adapted` is whether there are adapters in it: as many as were given, in their order.
    """

    recogniser: Recogniser
    features: LogMelConfig
    longest: float
    adapted: bool


def open_model(
    weights: Path,
    description: Path | None = None,
    adapters: Sequence[tuple[Path, Path]] = (),
    *,
    fold: int = 0,
    packed: bool = False,
) -> Transcriber:
    """Load a model and the adapters that are to be used with it.

    Args:
        weights: the model.
        description: its JSON; None: beside `weights`, with the suffix .json.
        adapters: of this model and of one kind, each with its JSON.
        fold: which state of adapters that were trained with cross-validation.
        packed: keep NF4 weights packed.

    Raises:
        SamlError: a file is missing or damaged, an adapter belongs to another model, is of another kind than
            the first or has no such fold.
    """
    base, content = load_model(weights, description or weights.with_suffix(".json"), packed=packed)
    features = feature_config({"family": content["family"], content["family"]: content["settings"]})
    longest = features.pad_seconds or max(content.get("longest_seconds") or 0.0, _LONGEST_SECONDS)
    if not adapters:
        as_module(base).to(device())
        return Transcriber(base, features, longest, adapted=False)
    stored = [load_adapter(adapter, described, content) for adapter, described in adapters]
    return Transcriber(_with_adapters(base, stored, fold), features, longest, adapted=True)


def _with_adapters(base: Recogniser, stored: Sequence[StoredAdapter], fold: int) -> AdaptedRecogniser:
    first = stored[0]
    recogniser = AdaptedRecogniser(base, first.spec, seed=0, adapters=len(stored))
    for index, one in enumerate(stored):
        if one.spec != first.spec:
            raise SamlError(
                f"{one.path}: is of another kind than {first.path} (arm, rank or experts), and cannot share "
                "batches with it; transcribe with it in a call of its own"
            )
        if not 0 <= fold < len(one.folds):
            raise SamlError(f"{one.path}: there is no fold {fold}; it has {len(one.folds)}, counted from 0")
        with about(one.path):
            recogniser.load_state(one.folds[fold], adapter=index)
    recogniser.to(device())
    return recogniser


def set_language(recogniser: Recogniser, language: str | None, task: str) -> None:
    """Have a multilingual Whisper write down `language`, or translate it into English.

    Args:
        recogniser: its tokeniser's prompt is set.
        language: a code ("de") or an English name ("german"); None: English.
        task: "transcribe" or "translate".

    Raises:
        SamlError: the model knows one language only, or not this one.
    """
    if language is None and task == "transcribe":
        return
    if not isinstance(recogniser.tokeniser, WhisperTokeniser):
        raise SamlError("--language and --task are for a Whisper with Whisper's own vocabulary")
    recogniser.tokeniser.choose(language or "en", task)
