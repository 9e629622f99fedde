"""Rates on trial: their names, their places, and the settings that a stage gets to try one.

The layout, below results/<experiment>/tuning:

    <arm>/pretraining/lr<rate>/seed<seed>/            a pre-trained adapter; its experts in experts/
    <arm>/pretrained/seed<seed>/                      the best of these, which adaptations start from
    <arm>/adaptation/lr<rate>/<speaker>/seed<seed>/   an adaptation
    <arm>/judged-<stage>/lr<rate>/seed<seed>/         how either does on what it has not heard
    rates.csv, rates.yaml, run.jsonl                  all losses, and what was chosen
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saml.corpora.registry import folder_name

PRETRAINING, ADAPTATION = "pretraining", "adaptation"


def rate_name(rate: float) -> str:
    """A rate as paths and tables spell it; `float` gives the very same number back."""
    return repr(float(rate))


def rates_of(rate: float, section: str) -> dict[str, float]:
    """The config's `learning_rate` of a section for one rate of the grid: experts and routers take the same.

    In pre-training expert initialisation too, named, so that no other configuration that these are laid over
    has a say.
    """
    kinds = ["expert", "router"] + ["initialisation"] * (section == PRETRAINING)
    return dict.fromkeys(kinds, float(rate))


def with_rate(settings: Mapping[str, Any], section: str, rate: float) -> dict[str, Any]:
    """`settings` of a stage with all learning rates of `section` at `rate`.

    What the configuration says of them, in the section or in the arm's entry, leaves no trace: to write the
    chosen rates into it must not make the trials run again.
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
    return results / "tuning" / arm / PRETRAINING / f"lr{rate_name(rate)}" / f"seed{seed}"


def adaptation_trial(results: Path, arm: str, rate: float, speaker: str, seed: int) -> Path:
    """The folder of an adaptation at `rate` to the tuning speaker with the id `speaker`."""
    lies = results / "tuning" / arm / ADAPTATION / f"lr{rate_name(rate)}"
    return lies / folder_name(speaker) / f"seed{seed}"


def judged(results: Path, arm: str, stage: str, rate: float, seed: int) -> Path:
    """The folder with the scores of an arm's trials of `stage`, pre-training or adaptation, at `rate`."""
    return results / "tuning" / arm / f"judged-{stage}" / f"lr{rate_name(rate)}" / f"seed{seed}"
