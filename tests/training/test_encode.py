"""Encoder outputs of a speaker's test part against each utterance encoded alone."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import load_adapter
from saml.corpora.manifests import read_cuts
from saml.features.batching import collate
from saml.models.store import load_model
from saml.runtime.errors import SamlError
from saml.stages.embed import encode
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM

Rows = dict[tuple[str, str], list[float]]


@pytest.fixture(scope="module")
def speaker(made: Path) -> Path:
    """The folder with `folds.*`, adapted in two folds."""
    run.adapt(made, "folds", SAML_ARM, "saml", splits=made / "cv.json")
    return made


def encoded(folder: Path, **changes: Any) -> Rows:
    encode(
        **{
            "experiment": "test",
            "settings": {"arm": SAML_ARM},
            "arm": "saml",
            "speaker": "t",
            "seed": 1,
            "weights": folder / "nf4.safetensors",
            "description": folder / "nf4.json",
            "cuts": folder / "target" / "cuts.jsonl.gz",
            "splits": folder / "cv.json",
            "embeddings": folder / "embeddings.csv",
            "record": folder / "embeddings.run.jsonl",
            **changes,
        }
    )
    with (folder / "embeddings.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["adapter", "utterance", *(f"v{number}" for number in range(1, 33))]
    return {(label, name): [float(value) for value in row] for label, name, *row in rows}


def alone(folder: Path, name: str | None, fold: int, utterance: str) -> list[float]:
    """One utterance by the bare model or by a fold of the adapter `name`; nothing is padded."""
    base, content = load_model(folder / "nf4.safetensors", folder / "nf4.json")
    recogniser = base
    if name is not None:
        stored = load_adapter(folder / f"{name}.safetensors", folder / f"{name}.json", content)
        recogniser = AdaptedRecogniser(base, stored.spec, seed=0)
        recogniser.load_state(stored.folds[fold])
    cut = next(one for one in read_cuts(folder / "target" / "cuts.jsonl.gz") if one.id == utterance)
    with torch.no_grad():
        return list(recogniser.encode(*collate([cut])).states[0].mean(0).tolist())


def test_before_and_after_adaptation_each_fold_by_its_own_adapter(speaker: Path) -> None:
    adapters = {"adapter": "folds", "pretrained": "saml"}
    files = {key: speaker / f"{name}.safetensors" for key, name in adapters.items()}
    files |= {f"{key}_description": speaker / f"{name}.json" for key, name in adapters.items()}
    found = encoded(speaker, **files)
    folds = [fold["test"] for fold in json.loads((speaker / "cv.json").read_text())["folds"]]
    assert set(found) == {(label, u) for label in ("adapted", "pretrained") for part in folds for u in part}
    for fold, part in enumerate(folds):
        for utterance in part:
            close = {"abs": 1e-4, "rel": 1e-4}
            assert found["adapted", utterance] == pytest.approx(
                alone(speaker, "folds", fold, utterance), **close
            )
            assert found["pretrained", utterance] == pytest.approx(
                alone(speaker, "saml", 0, utterance), **close
            )
    assert found["adapted", folds[0][0]] != found["pretrained", folds[0][0]]


def test_without_an_adapter_it_is_the_bare_model(speaker: Path) -> None:
    found = encoded(speaker)
    assert {label for label, _ in found} == {"none"}
    for _, utterance in found:
        expected = alone(speaker, None, 0, utterance)
        assert found["none", utterance] == pytest.approx(expected, abs=1e-4, rel=1e-4)


def test_folds_that_are_not_the_speakers(speaker: Path) -> None:
    files = {"adapter": speaker / "folds.safetensors", "adapter_description": speaker / "folds.json"}
    with pytest.raises(
        SamlError, match=r"folds\.safetensors: was adapted to other train and dev utterances .*; adapt again"
    ):
        encoded(speaker, splits=speaker / "splits.json", **files)
