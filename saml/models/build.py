"""Recognisers of every family behind one builder."""

from collections.abc import Iterable, Mapping
from typing import Any

from saml.compat.garbage import none_expected
from saml.models.recogniser import Encoded, Recogniser, Tokeniser, as_module
from saml.runtime.errors import SamlError

__all__ = ["Encoded", "Recogniser", "Tokeniser", "as_module", "build", "rebuild"]


def build(model: Mapping[str, Any], transcripts: Iterable[str] | None = None) -> Recogniser:
    """A recogniser with fresh weights from a config's `model` section.

    `transcripts` of the speech that it will be trained on are needed where its tokens are learned from them.
    """
    from saml.models.tokenisers.characters import build_tokeniser

    family = model["family"]
    return _construct(family, model[family], build_tokeniser(model, transcripts))


def rebuild(description: Mapping[str, Any]) -> Recogniser:
    """A recogniser with fresh weights from what `describe` returned (the `model.json` beside weights)."""
    from saml.models.tokenisers.characters import tokeniser_of

    return _construct(description["family"], description["settings"], tokeniser_of(description["tokeniser"]))


def _construct(family: str, settings: Mapping[str, Any], tokeniser: Tokeniser) -> Recogniser:
    if family == "conformer":
        with none_expected():
            from saml.models.conformer import ConformerRecogniser

        return ConformerRecogniser(settings, tokeniser)
    if family == "whisper":
        with none_expected():
            from saml.models.whisper import WhisperRecogniser

        return WhisperRecogniser(settings, tokeniser)
    raise SamlError(f"model.family: no recogniser family {family!r}; there are: conformer, whisper")
