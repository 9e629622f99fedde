"""Learning rates in settings and paths."""

import copy
from pathlib import Path
from typing import Any

import pytest

from saml.config.settings import merged_with_arm
from saml.tuning.rates import adaptation_trial, rate_name, rates_of, with_rate

BOTH = {"expert": 0.003, "router": 0.003}


def settings(**arm: Any) -> dict[str, Any]:
    return {
        "arm": {"precision": "nf4", **arm},
        "adaptation": {"epochs": 10, "learning_rate": {"expert": 0.1, "router": 0.2}},
    }


@pytest.mark.parametrize("rate", [3.0e-4, 1.0e-3, 1, 3.0e-5, 1 / 3, 1e-9])
def test_a_name_is_the_number(rate: float) -> None:
    assert float(rate_name(rate)) == rate and "/" not in rate_name(rate)


def test_the_rate_goes_before_whatever_the_configuration_says() -> None:
    """By the stages' own rule, that an arm's entry goes before the section."""


def test_the_rate_overrides_the_configuration() -> None:
    """By the stages' own rule that an arm's entry overrides the section."""
    own = {"adaptation": {"learning_rate": {"expert": 7.0, "router": 8.0}, "decay": 0.5}}
    given = settings(**own)
    before = copy.deepcopy(given)
    tried = with_rate(given, "adaptation", 0.003)
    assert merged_with_arm(tried, "adaptation") == {"epochs": 10, "decay": 0.5, "learning_rate": BOTH}
    assert given == before


@pytest.mark.parametrize("own", [{}, {"adaptation": {"learning_rate": {"expert": 7.0, "router": 8.0}}}])
def test_a_frozen_rate_does_not_change_the_settings_of_a_trial(own: dict[str, Any]) -> None:
    """Else writing the chosen rates into the configuration would run the trials again."""
    assert with_rate(settings(**own), "adaptation", 0.003) == {
        "arm": {"precision": "nf4"},
        "adaptation": {"epochs": 10, "learning_rate": BOTH},
    }


def test_pretraining_sets_the_rate_of_initialisation_too() -> None:
    assert rates_of(0.01, "pretraining") == {"expert": 0.01, "router": 0.01, "initialisation": 0.01}
    assert rates_of(0.01, "adaptation") == {"expert": 0.01, "router": 0.01}


def test_a_folder_encodes_the_speakers_name() -> None:
    folder = adaptation_trial(Path("r"), "saml", 1.0e-3, "a b", 2)
    assert folder == Path("r/tuning/saml/adaptation/lr0.001/a%20b/seed2")
