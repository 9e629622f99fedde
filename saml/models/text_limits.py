"""Which transcripts a model can be trained on, known before there is a model or any feature of its speech."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saml.features.log_mel import feature_config, frame_count
from saml.models.lengths import decoder_positions, encoder_frames, has_ctc_head
from saml.models.recogniser import Tokeniser
from saml.models.store import TOKENIZER, read_description, read_tokeniser
from saml.models.tokenisers.characters import CharacterTokeniser, unknown_characters


@dataclass(frozen=True)
class TextLimits:
    """What a transcript may be.

    Attributes:
        unknown: a text -> those of its characters that the tokeniser lacks.
        tokeniser: None where its subwords are learned with the base model, later: then training looks at
            the number of tokens, and CTC losses of texts that are too long for their audio count as 0.
        room: tokens of a text that the decoder has positions for, beside its prompt; None: not known here.
        frames: seconds of speech -> encoder frames, where a CTC loss needs them; None: no CTC.
    """

    unknown: Callable[[str], str]
    tokeniser: Tokeniser | None
    room: int | None
    frames: Callable[[float], int] | None

    def wrong(self, text: str, seconds: float) -> str | None:
        """Why a model cannot be trained on `text`, spoken in so many `seconds`; None where it can."""
        unknown = self.unknown(text)
        if unknown:
            return f"the tokeniser lacks {unknown!r} of the transcript {text!r}"
        if self.tokeniser is None:
            return None
        ids = self.tokeniser.encode(text)
        if not ids:
            return "the transcript is empty"
        if self.room is not None and len(ids) > self.room:
            return (
                f"its transcript of {len(text.split())} words has {len(ids)} tokens, more than the "
                f"{self.room} that the model has positions for (divide the recording)"
            )
        return self._too_fast(ids, seconds)

    def _too_fast(self, ids: list[int], seconds: float) -> str | None:
        """CTC emits a token a frame at most, and a blank between two equal ones."""
        if self.frames is None:
            return None
        needed = len(ids) + sum(one == other for one, other in zip(ids, ids[1:], strict=False))
        frames = self.frames(seconds)
        if needed <= frames:
            return None
        return (
            f"its transcript of {len(ids)} tokens needs {needed} encoder frames for the CTC loss, and "
            f"{seconds:.2f} s of audio give {frames}: is it the transcript of another recording?"
        )


def text_limits(
    model: Mapping[str, Any], *, description: Path | None = None, ctc: bool = True, speed: float = 1.0
) -> TextLimits:
    """The limits of the model that a config's `model` section describes.

    A checkpoint has limits and a tokeniser of its own, and is opened (its weights are not read).

    Args:
        model: the section.
        description: of a model that there is already; it counts, and not the section.
        ctc: whether a CTC loss is trained; it needs a model with a CTC head.
        speed: of the fastest copy of an utterance that is trained on; 1: as spoken.

    Raises:
        SamlError: the checkpoint, or the description or its tokeniser, is missing or damaged.
    """
    family = model["family"]
    settings, tokeniser = _of(model, description)
    if tokeniser is None:
        unknown, prompt = unknown_characters(model), 1
    else:
        unknown, prompt = tokeniser.unknown, len(tokeniser.prompt)
    positions = decoder_positions(family, settings)
    room = None if positions is None else positions - prompt
    has_ctc = has_ctc_head(family, settings)
    features = feature_config({"family": family, family: settings})

    def frames(seconds: float) -> int:
        return encoder_frames(family, frame_count(features, seconds / speed))

    return TextLimits(unknown, tokeniser, room, frames if ctc and has_ctc else None)


def _of(model: Mapping[str, Any], description: Path | None) -> tuple[Mapping[str, Any], Tokeniser | None]:
    """Settings of the network, and its tokeniser if it is known."""
    if description is not None:
        content = read_description(description)
        return content["settings"], read_tokeniser(description.with_name(TOKENIZER), content["tokeniser"])
    family = model["family"]
    own = model[family]
    if family == "whisper" and own.get("checkpoint") is not None:
        # Imported here for start-up: transformers takes seconds.
        from saml.models.checkpoints.transformers import open_checkpoint

        given = open_checkpoint(model)
        return given.settings, given.tokeniser
    if family == "conformer" and own.get("bpe") is not None:
        return own, None
    return own, CharacterTokeniser(own["characters"])
