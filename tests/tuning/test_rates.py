"""How a rate enters a stage's settings."""

import copy
from pathlib import Path
from typing import Any

import pytest

from saml.tuning.rates import adaptation_trial, rate_name, with_rate

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
    from saml.training.common import section_for_arm

    own = {"adaptation": {"learning_rate": {"expert": 7.0, "router": 8.0}, "decay": 0.5}}
    given = settings(**own)
    before = copy.deepcopy(given)
    tried = with_rate(given, "adaptation", 0.003)
    assert section_for_arm(tried, "adaptation") == {"epochs": 10, "decay": 0.5, "learning_rate": BOTH}
    assert given == before


def test_a_frozen_rate_leaves_no_trace() -> None:
    frozen = settings(adaptation={"learning_rate": {"expert": 7.0, "router": 8.0}})
    assert with_rate(frozen, "adaptation", 0.003) == with_rate(settings(), "adaptation", 0.003)


def test_a_folder_has_the_speakers_name_made_safe() -> None:
    folder = adaptation_trial(Path("r"), "saml", 1.0e-3, "a b", 2)
    assert folder == Path("r/tuning/saml/adaptation/lr0.001/a%20b/seed2")
