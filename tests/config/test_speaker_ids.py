"""Ids of speakers in a configuration and in a corpus are the same where they look alike."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from saml.config.load import load, speech_settings, validate
from saml.runtime.errors import SamlError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DECOMPOSED = unicodedata.normalize("NFD", "Zoë")


@pytest.fixture
def config() -> dict[str, Any]:
    found = load([ROOT / "config/config.yaml"])
    found["corpus"]["name"] = "folder"
    found["partition"]["scheme"] = "folds"
    return found


def test_ids_become_those_of_the_corpus(config: dict[str, Any]) -> None:
    config["target_speakers"] = [DECOMPOSED, "O\u2019Neil", " anna "]
    config["corpus"]["folder"]["roles"] = {"pretrain": [f"{DECOMPOSED}-{index}" for index in range(6)]}
    config["initial_speakers"] = [f"{unicodedata.normalize('NFC', DECOMPOSED)}-{index}" for index in range(6)]
    validate(config, SCHEMA)
    assert config["target_speakers"] == ["Zo\u00eb", "O'Neil", "anna"]
    assert config["corpus"]["folder"]["roles"]["pretrain"] == config["initial_speakers"]


def test_two_forms_of_one_id_are_one_speaker(config: dict[str, Any]) -> None:
    config["target_speakers"] = [DECOMPOSED, "Zo\u00eb"]
    with pytest.raises(
        SamlError, match="target_speakers: 'Zo\u00eb' is listed twice, in forms that look alike"
    ):
        validate(config, SCHEMA)
    config["target_speakers"] = ["O'Neil"]
    config["tuning"]["speakers"] = ["O\u2019Neil"]
    with pytest.raises(SamlError, match="is in target_speakers too"):
        validate(config, SCHEMA)


def test_speech_depends_on_whether_ctc_is_trained_and_not_on_its_weight(config: dict[str, Any]) -> None:
    """A CTC head that nothing trains bears texts that are too long for CTC."""
    sections = ["corpus", "model"]
    before = speech_settings(config, sections)
    config["adaptation"]["ctc_weight"] = 0.2
    assert speech_settings(config, sections) == before and "ctc" not in before
    for section in ("base_training", "pretraining", "adaptation"):
        config[section]["ctc_weight"] = 0.0
    assert speech_settings(config, sections) == {**before, "ctc": False}
    config["arms"]["saml"]["adaptation"] = {"ctc_weight": 0.1}
    assert speech_settings(config, sections) == before
    config["model"]["family"] = "whisper"  # without a head there is nothing to say
    assert "ctc" not in speech_settings(config, sections)
