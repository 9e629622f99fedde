"""The stage that routes a speaker's speech, on the tiny corpus."""

import csv
from pathlib import Path
from typing import Any

import pytest

from saml.runtime.errors import SamlError
from saml.stages.routes import routes
from saml.tracking import read_record
from tests.training.conftest import SAML_ARM, settings


def run(made: Path, folder: Path, adapter: str, **changes: Any) -> Path:
    arguments = {
        "experiment": "test",
        "settings": settings(arm=SAML_ARM),
        "arm": "saml",
        "speaker": "t",
        "seed": 1,
        "weights": made / "nf4.safetensors",
        "description": made / "nf4.json",
        "cuts": made / "target/cuts.jsonl.gz",
        "adapter": made / f"{adapter}.safetensors",
        "adapter_description": made / f"{adapter}.json",
        "routes": folder / "routes.csv",
        "record": folder / "run.jsonl",
    }
    routes(**{**arguments, **changes})
    return folder / "routes.csv"


def test_all_speech_of_the_speaker_is_routed(made: Path, tmp_path: Path) -> None:
    with run(made, tmp_path, "saml").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # 8 utterances; 2 encoder layers, and the decoder's two routes.
    assert len(rows) == 8 * 4 and {row["utterance"] for row in rows} == {f"t-{number}" for number in range(8)}
    for row in rows:
        assert float(row["expert1"]) + float(row["expert2"]) == pytest.approx(1.0, abs=1e-5)
    record = read_record(tmp_path / "run.jsonl")
    assert (record.stage, record.arm, record.speaker) == ("routes", "saml", "t")
    assert [file.name for file in record.files] == ["routes.csv"]


def test_an_adapter_without_a_router_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SamlError, match=r"pqm\.safetensors: arm saml has no router"):
        run(made, tmp_path, "pqm")
