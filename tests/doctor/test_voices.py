"""What `saml doctor` says of the synthetic corpus."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from saml.doctor.voices import voices

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def config() -> dict[str, Any]:
    changed: dict[str, Any] = copy.deepcopy(DEFAULT)
    return changed


def test_a_voice_that_is_nobodys(config: dict[str, Any]) -> None:
    """Of a target speaker it is a failure, of a tuning speaker a warning."""
    config["target_speakers"] = ["de_f2_r155_p55", "anna"]
    config["tuning"]["speakers"] = ["ben"]
    first, second = voices(config)
    assert (first.status, second.status) == ("fail", "warn")
    assert first.finding.startswith("speaker 'anna' is not a voice")
    assert second.finding.startswith("speaker 'ben' is not a voice")


def test_more_voices_and_sentences_than_there_are(config: dict[str, Any]) -> None:
    own = config["corpus"]["spoken_commands"]
    own["base"]["voices"] = 10_000
    own["heldout"]["sentences"] = 64_000
    own["target"]["test"] = 64_000
    config["target_speakers"] = config["target_speakers"][:1]
    failures = [line.finding for line in voices(config) if line.status == "fail"]
    assert [failure.partition(";")[0][:45] for failure in failures] == [
        "corpus.spoken_commands.base.voices needs 10000 voices"[:45],
        "corpus.spoken_commands.heldout needs 64000 sentences"[:45],
        "corpus.spoken_commands.target needs 64000 sentences"[:45],
    ]
