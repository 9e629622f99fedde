"""Learning rates of the sweep: their names, the settings of a stage at a rate, the folders of trials."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saml.runtime import layout

PRETRAINING, ADAPTATION = "pretraining", "adaptation"


def rate_name(rate: float) -> str:
    """A rate as written in paths and tables; `float` returns exactly the same number."""
    return repr(float(rate))


def rates_of(rate: float, section: str) -> dict[str, float]:
    """The config's `learning_rate` of a section at one rate of the grid, the same for experts and routers.

    In pre-training it names expert initialisation too, so that it overrides any other configuration.
    """
    kinds = ["expert", "router"] + ["initialisation"] * (section == PRETRAINING)
    return dict.fromkeys(kinds, float(rate))


def with_rate(settings: Mapping[str, Any], section: str, rate: float) -> dict[str, Any]:
    """`settings` of a stage with all learning rates of `section` at `rate`.

    Rates in the configuration, in the section or in the arm's entry, do not appear in the result: writing the
    chosen rates into the configuration must not run the trials again.
    """
    arm = dict(settings["arm"])
    own = {key: value for key, value in arm.pop(section, {}).items() if key != "learning_rate"}
    return {
        **settings,
        "arm": {**arm, section: own} if own else arm,
        section: {**settings[section], "learning_rate": rates_of(rate, section)},
    }


def pretraining_trial(results: Path, arm: str, rate: float, seed: int) -> Path:
    """The folder of a pre-training at `rate`."""
    return layout.place(results, layout.TRIAL_PRETRAINING, arm=arm, rate=rate_name(rate), seed=seed)


def adaptation_trial(results: Path, arm: str, rate: float, speaker: str, seed: int) -> Path:
    """The folder of an adaptation at `rate` to the tuning speaker with the id `speaker`."""
    template = layout.TRIAL_ADAPTATION
    return layout.place(results, template, arm=arm, rate=rate_name(rate), speaker=speaker, seed=seed)


def judged(results: Path, arm: str, stage: str, rate: float, seed: int) -> Path:
    """The folder with the scores of an arm's trials of `stage`, pre-training or adaptation, at `rate`."""
    return layout.place(results, layout.TRIAL_LOSSES, arm=arm, kind=stage, rate=rate_name(rate), seed=seed)
