"""Which transcripts are refused before training: counted by hand, or by the networks themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saml.features.log_mel import LogMel, feature_config, frame_count
from saml.models.build import build
from saml.models.lengths import encoder_frames
from saml.models.recogniser import Recogniser
from saml.models.store import save_model
from saml.models.text_limits import text_limits
from tests.conftest import SECTIONS, TINY
from tests.models.conftest import save_bpe_checkpoint
from tests.models.test_byte_level import section


def model(family: str, **changes: Any) -> dict[str, Any]:
    return {"family": family, family: {**SECTIONS[family], **changes}}


def test_room_is_that_of_the_network(family: str, recogniser: Recogniser) -> None:
    limits = text_limits(model(family), ctc=False)
    room = recogniser.max_tokens - len(recogniser.tokeniser.prompt)
    assert limits.room == room and limits.wrong("a" * room, 1.0) is None
    assert f"has {room + 1} tokens, more than the {room}" in (limits.wrong("a" * (room + 1), 1.0) or "")


@pytest.mark.parametrize("samples", [320, 3_200, 8_000, 8_001, 15_999, 16_000, 22_400])
def test_frames_are_those_of_features_and_network(family: str, recogniser: Recogniser, samples: int) -> None:
    config = feature_config(model(family))
    features = LogMel(config).extract(np.random.default_rng(1).standard_normal(samples), 16_000)
    frames = frame_count(config, samples / 16_000)
    assert frames == len(features)
    assert encoder_frames(family, frames) == int(recogniser.frame_mask(torch.tensor([frames])).sum())


def test_ctc_needs_a_frame_a_token_and_a_blank_between_equal_ones() -> None:
    """A Conformer has a frame each 40 ms: 0.4 s are ten. torch's loss is finite where it is possible."""
    limits = text_limits(model("conformer"))
    for text in ("abcdefghij", "abcdefghijk", "aabbccd", "aabbccdd", "a a a a a"):
        ids = limits.tokeniser.encode(text) if limits.tokeniser else []
        loss = torch.nn.functional.ctc_loss(
            torch.randn(10, 1, 30).log_softmax(-1),
            torch.tensor([ids]),
            torch.tensor([10]),
            torch.tensor([len(ids)]),
        )
        assert (limits.wrong(text, 0.4) is None) == bool(loss.isfinite()), text
    assert limits.wrong("aabbccdd", 0.4) == (
        "its transcript of 8 tokens needs 12 encoder frames for the CTC loss, and 0.40 s of audio give 10: "
        "is it the transcript of another recording?"
    )
    assert text_limits(model("conformer"), ctc=False).wrong("aabbccdd", 0.4) is None
    assert text_limits(model("conformer"), speed=2.0).wrong("abcdefghij", 0.4) is not None
    assert text_limits(model("whisper", ctc_head=False)).wrong("abc" * 18, 0.4) is None


def test_characters_and_nothing() -> None:
    limits = text_limits(model("conformer"))
    assert limits.wrong("One 2", 1.0) == "the tokeniser lacks '2' of the transcript 'One 2'"
    assert limits.wrong(" \u200b", 1.0) == "the transcript is empty"


def test_subwords_are_unknown_before_they_are_learned() -> None:
    limits = text_limits(model("conformer", bpe=40))
    assert limits.tokeniser is None and limits.wrong("ab " * 5_000, 0.4) is None
    assert limits.wrong("a,b", 0.4) == "the tokeniser lacks ',' of the transcript 'a,b'"


def test_a_model_that_exists_counts(tmp_path: Path) -> None:
    """Its subwords, whatever the section says."""
    trained = build(
        {"family": "conformer", "conformer": {**TINY, "bpe": 40}}, ["ab ab cd cd cd ab", "ef"] * 9
    )
    save_model(trained, tmp_path / "model.safetensors", tmp_path / "model.json")
    limits = text_limits(model("conformer", characters="xyz", bpe=None), description=tmp_path / "model.json")
    tokens = trained.tokeniser.encode("ab ab cd")
    assert limits.tokeniser is not None and limits.tokeniser.encode("ab ab cd") == tokens
    assert limits.wrong("ab ab cd", 1.0) is None
    assert f"of {len(tokens)} tokens" in (limits.wrong("ab ab cd", 0.04) or "")


def test_a_checkpoint_has_numbers_of_its_own(tmp_path: Path) -> None:
    """40 positions, of which the prompt takes two; the text is counted by transformers' tokeniser."""
    from transformers import WhisperTokenizer

    folder = save_bpe_checkpoint(tmp_path / "bpe")
    limits = text_limits(section(folder, characters=None))
    theirs = WhisperTokenizer.from_pretrained(folder)
    text = "the cat sat on the mat"
    count = len(theirs.encode(f" {text}", add_special_tokens=False))
    assert limits.wrong(text, 0.1) is None and count <= limits.room == 38
    longer = " ".join([text] * 5)
    count = len(theirs.encode(f" {longer}", add_special_tokens=False))
    assert f"of 30 words has {count} tokens" in (limits.wrong(longer, 0.1) or "")
