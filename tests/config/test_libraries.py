"""Which optional libraries a configuration asks for."""

from pathlib import Path

from saml.config.libraries import wanted
from saml.config.load import load


def test_what_a_configuration_asks_for() -> None:
    config = load([Path(__file__).parents[2] / "config" / "config.yaml"])
    assert list(wanted(config)) == []
    config["base_training"] |= {"ctc_backend": "k2", "average_by": "icefall"}
    config["arms"]["saml"]["adaptation"] = {"ctc_backend": "k2"}
    config["scoring"]["error_stats"] = "icefall"
    assert list(wanted(config)) == [
        ("k2", "base_training.ctc_backend", "torch"),
        ("icefall.checkpoint", "base_training.average_by", "saml"),
        ("icefall.utils", "scoring.error_stats", "saml"),
        ("k2", "arms.saml.adaptation.ctc_backend", "torch"),
    ]
