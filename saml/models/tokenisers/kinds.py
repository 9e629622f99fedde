"""The tokeniser of a model: from the configuration, for training a base model, or as it was stored."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from saml.models.recogniser import Tokeniser
from saml.models.tokenisers.byte_level import whisper_tokeniser_of
from saml.models.tokenisers.characters import CharacterTokeniser
from saml.models.tokenisers.subwords import learn_subwords, subwords_of
from saml.runtime.errors import SamlError


def build_tokeniser(model: Mapping[str, Any], transcripts: Iterable[str] | None = None) -> Tokeniser:
    """The tokeniser of a config's `model` section, for a network that is trained here.

    With a Conformer's `bpe` its tokens are subwords, learned from `transcripts`. Raises SamlError without
    these.
    """
    own = model[model["family"]]
    if model["family"] != "conformer" or own["bpe"] is None:
        return CharacterTokeniser(own["characters"])
    if transcripts is None:
        raise SamlError("model.conformer.bpe: subwords are learned from transcripts, and there are none here")
    return learn_subwords(transcripts, own["characters"], own["bpe"], "model.conformer.bpe")


def tokeniser_of(description: Mapping[str, Any], content: str) -> Tokeniser:
    """The tokeniser that its `describe` described and whose `to_json` gave `content`.

    Raises SamlError for a kind that does not exist, or where the content is not of that kind.
    """
    kind = description["kind"]
    if kind == "whisper":
        return whisper_tokeniser_of(description, content)
    if kind == "subwords":
        return subwords_of(content)
    if kind == "characters":
        return CharacterTokeniser(json.loads(content)["characters"])
    raise SamlError(f"no tokeniser of kind {kind!r}; made by another version of saml?")
