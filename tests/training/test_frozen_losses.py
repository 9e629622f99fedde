"""The first losses of every stage, four where it has as many, frozen: no change of numbers may slip in."""

from pathlib import Path

import pytest

from saml.tracking import read_record
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM

# Made by these stages themselves, with the versions of requirements.txt; the features are seeded noise.
FROZEN: dict[str, list[float]] = {
    "base": [4.10781, 4.16822, 3.56003, 3.84959],
    "experts": [3.51446, 3.48464],
    "saml": [3.82702, 3.57632, 3.80320],
    "pqm": [3.85933, 3.52077, 3.76248, 3.55039],
    "frozen": [3.65973, 3.41608, 3.66351, 3.40593],
}


@pytest.mark.parametrize("stage", FROZEN)
def test_losses_are_what_they_were(made: Path, stage: str) -> None:
    """Training of the base, expert initialisation, pre-training of SAML and of PQM's LoRA, adaptation."""
    if stage == "frozen":
        run.adapt(made, "frozen", SAML_ARM, "saml")
    points = read_record(made / f"{stage}.run.jsonl").points
    losses = [point.value for point in points if point.name.endswith("loss")][:4]
    assert losses == pytest.approx(FROZEN[stage], abs=1e-4)
