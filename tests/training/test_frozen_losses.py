"""The first four losses of every stage, frozen: no change of numbers may slip in.

Processors round differently. Adam makes a whole step of a gradient that is nothing but rounding, as that of
a bias before batch normalisation is, which the dev part then hears; NF4 makes another weight of one that
lies on a boundary. So of the base there are losses of training alone, after small steps, and adapters are
trained on a base that has taken none.
"""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from saml.models.build import build
from saml.models.store import save_model
from saml.tracking import read_record
from tests.training import conftest as run
from tests.training.conftest import PQM_ARM, SAML_ARM, SETTINGS

# Made by these stages themselves, with the versions of requirements.txt; the features are seeded noise.
FROZEN: dict[str, list[float]] = {
    "base": [4.20640, 3.90482, 3.77943, 3.80041],
    "experts": [4.87682, 4.29529, 4.11226, 3.77626],
    "saml": [5.68900, 4.24586, 4.14212, 3.69497],
    "pqm": [6.37478, 4.70599, 5.59353, 4.36014],
    "adapted": [3.80412, 3.53091, 3.80393, 3.53165],
}


def settings(arm: dict[str, Any]) -> dict[str, Any]:
    """With utterances for four epochs of the experts and two of pre-training, which has dev losses too."""
    how = run.settings("adapters", "pretraining", "initial_speakers", arm=arm)
    return {**how, "pretraining": {**how["pretraining"], "utterances": 96}}


@pytest.fixture(scope="module")
def trained(made: Path) -> Path:
    """Training of the base, expert initialisation, pre-training of SAML and of PQM's LoRA, adaptation."""
    slowly = {**SETTINGS["base_training"], "learning_rate": 1e-4, "epochs": 3}
    slowly["closing"] = {"epochs": 1, "learning_rate": 1e-4}
    run.train_base(made, "frozen-base", settings={"model": SETTINGS["model"], "base_training": slowly})
    torch.manual_seed(1)
    save_model(build(SETTINGS["model"]), made / "untrained.safetensors", made / "untrained.json")
    run.quantise(made, "untrained", "untrained-nf4")
    model = {"weights": made / "untrained-nf4.safetensors", "description": made / "untrained-nf4.json"}
    saml, pqm = settings(SAML_ARM), settings(PQM_ARM)
    run.mixture(made, "initialise_experts", "frozen-experts", SAML_ARM, settings=saml, **model)
    start = {
        "experts": made / "frozen-experts.safetensors",
        "experts_description": made / "frozen-experts.json",
    }
    run.mixture(made, "pretrain", "frozen-saml", SAML_ARM, settings=saml, **model, **start)
    run.mixture(made, "pretrain", "frozen-pqm", PQM_ARM, settings=pqm, **model)
    run.adapt(made, "frozen-adapted", SAML_ARM, "frozen-saml", **model)
    return made


@pytest.mark.parametrize("stage", FROZEN)
def test_losses_are_what_they_were(trained: Path, stage: str) -> None:
    points = read_record(trained / f"frozen-{stage}.run.jsonl").points
    kind = "train/loss" if stage == "base" else "loss"
    losses = [point.value for point in points if point.name.endswith(kind)]
    if stage == "experts":  # a curve for each of two experts, which see as many utterances
        points = [point for point in points if point.name.endswith("train/loss")]
        losses = [fmean(point.value for point in points if point.step == step) for step in range(1, 5)]
    assert losses[:4] == pytest.approx(FROZEN[stage], abs=1e-4)
