"""What `saml doctor` says of results: what is damaged or of another version, no more."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from saml import __version__
from saml.doctor.earlier_results import earlier_results
from saml.doctor.machine import Line
from saml.training.checkpoints import Checkpoints

CONFIG: dict[str, Any] = {
    "experiment": "mine",
    "corpus": {"name": "spoken_commands"},
    "model": {"family": "conformer", "conformer": {}},
}
NF4 = "models/nf4/model.safetensors"
ADAPTER = "speakers/anna/saml/seed1/adapter.safetensors"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A model and an adapter, as another library writes them, with descriptions."""
    folder = tmp_path / "results" / "mine"
    for name in (NF4, ADAPTER):
        path = folder / name
        path.parent.mkdir(parents=True)
        save_file({"weight": torch.arange(1000.0)}, path)
        path.with_suffix(".json").write_text(json.dumps({"format": 1, "sha256": "not compared"}))
    (folder / "models/nf4/tokenizer.json").write_text("{}")
    return folder


def found(results: Path) -> list[Line]:
    return list(earlier_results(CONFIG, results.parents[1]))


def test_nothing_has_run(tmp_path: Path) -> None:
    assert list(earlier_results(CONFIG, tmp_path)) == []


def test_good_results_are_counted(results: Path) -> None:
    assert found(results) == [
        Line("ok", "results", "2 models and adapters of earlier runs in results/mine"),
    ]


@pytest.mark.parametrize("size", [0, 7, 100, 2000, 4000])
@pytest.mark.parametrize("name", [NF4, ADAPTER])
def test_truncated_weights(results: Path, name: str, size: int) -> None:
    """Cut anywhere: in the length of the header, in the header, in the tensors."""
    with (results / name).open("r+b") as file:
        file.truncate(size)
    (line,) = found(results)
    assert line.status == "fail"
    assert line.finding.startswith(f"results/mine/{name}: truncated or damaged")
    assert line.advice.endswith(f"-- results/mine/{name}")


def test_weights_with_more_than_they_say(results: Path) -> None:
    with (results / NF4).open("ab") as file:
        file.write(b"more")
    assert [line.status for line in found(results)] == ["fail"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}'])
def test_descriptions_that_are_none(results: Path, text: str) -> None:
    (results / ADAPTER).with_suffix(".json").write_text(text)
    (line,) = found(results)
    assert line.status == "fail"
    assert line.finding.startswith("results/mine/speakers/anna/saml/seed1/adapter.json: not ")


def test_a_trial_that_diverged_has_empty_files(results: Path) -> None:
    trial = results / "tuning/saml/pretraining/lr0.1/seed1/adapter.safetensors"
    trial.parent.mkdir(parents=True)
    trial.touch()
    assert [line.status for line in found(results)] == ["ok"]


def test_damaged_checkpoints(results: Path) -> None:
    """Only the one with a changed byte is named, as a warning."""
    for name in ("good", "damaged"):
        Checkpoints(results / ".work" / name, {}).save({"step": 3, "weight": torch.arange(100.0)})
    path = results / ".work/damaged/checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    warning, counted = found(results)
    assert (warning.status, counted.status) == ("warn", "ok")
    assert warning.finding == "results/mine/.work/damaged/checkpoint.pt: a damaged checkpoint"


def test_results_of_another_version(results: Path) -> None:
    (results / "models/nf4/run.jsonl").write_text('{"kind": "run", "saml": "0.0.1"}\n')
    warning, _ = found(results)
    assert warning.status == "warn" and "has results of saml 0.0.1 (1, the first in " in warning.finding
    assert warning.finding.endswith(f"this is saml {__version__}")
    assert warning.advice == "they are kept; --forceall computes everything again"
