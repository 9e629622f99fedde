"""Recognisers of every family behind one builder."""

from collections.abc import Iterable, Mapping
from typing import Any

from saml.models.recogniser import BaseRecogniser, Tokeniser
from saml.models.tokenisers.kinds import build_tokeniser
from saml.runtime.errors import SamlError


def build(model: Mapping[str, Any], transcripts: Iterable[str] | None = None) -> BaseRecogniser:
    """A recogniser with fresh weights from a config's `model` section.

    `transcripts` of the speech that it will be trained on are needed where its tokens are learned from them.
    """
    family = model["family"]
    return _construct(family, model[family], build_tokeniser(model, transcripts))


def rebuild(description: Mapping[str, Any], tokeniser: Tokeniser) -> BaseRecogniser:
    """A recogniser with fresh weights from what its `describe` returned, and its tokeniser."""
    return _construct(description["family"], description["settings"], tokeniser)


def _construct(family: str, settings: Mapping[str, Any], tokeniser: Tokeniser) -> BaseRecogniser:
    # The other family's network is not imported, for start-up.
    if family == "conformer":
        # Imported here for start-up: a family's network of transformers takes a second.
        from saml.models.conformer import ConformerRecogniser

        return ConformerRecogniser(settings, tokeniser)
    if family == "whisper":
        # Likewise.
        from saml.models.whisper import WhisperRecogniser

        return WhisperRecogniser(settings, tokeniser)
    raise SamlError(f"model.family: no recogniser family {family!r}; there are: conformer, whisper")
