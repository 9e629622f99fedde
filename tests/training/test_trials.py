"""Stages on trial, run as the workflow runs them: what diverges is noted, and what stands on it too."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from saml.cli import main as cli
from saml.tracking import read_record
from saml.tuning.rates import with_rate
from tests.training import conftest as run
from tests.training.conftest import LORA_ARM, SAML_ARM

HUGE = 1e30


def command(made: Path, stage: str, out: Path, rate: float, *more: str) -> list[str]:
    """The command line of a stage of the arm saml, or of an adaptation of lora, writing into `out`."""
    if stage == "adapt":
        chosen = with_rate(run.settings("adapters", "adaptation", arm=LORA_ARM), "adaptation", rate)
        chosen["partition"] = {"enrolment": None}
        speech = ["--cuts", "target/cuts.jsonl.gz", "--splits", "splits.json"]
        who = ["--arm", "lora", "--speakers", "t"]
    else:
        sections = run.settings("adapters", "pretraining", "initial_speakers", arm=SAML_ARM)
        chosen = with_rate(copy.deepcopy(sections), "pretraining", rate)
        speech, who = ["--cuts", "pretrain/cuts.jsonl.gz"], ["--arm", "saml"]
    inputs = ["--weights", "nf4.safetensors", "--description", "nf4.json", *speech]
    files = [word if word.startswith("--") else str(made / word) for word in inputs]
    files += [
        "--out-adapter",
        str(out / "adapter.safetensors"),
        "--out-description",
        str(out / "adapter.json"),
    ]
    files += ["--record", str(out / "run.jsonl"), "--work", str(out / "work")]
    return [
        stage,
        "--experiment",
        "test",
        "--seed",
        "1",
        *who,
        *files,
        "--settings",
        json.dumps(chosen),
        *more,
    ]


def assert_lost(folder: Path) -> None:
    assert (folder / "adapter.safetensors").read_bytes() == (folder / "adapter.json").read_bytes() == b""
    record = read_record(folder / "run.jsonl")
    assert record.scores == {"diverged": 1}
    assert not (folder / "work").exists()


def test_what_diverges_is_lost_with_all_that_stands_on_it(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experts, pretrained = tmp_path / "experts", tmp_path / "pretrained"
    assert cli.main(command(made, "initialise-experts", experts, HUGE, "--trial")) == 0
    assert_lost(experts)
    assert "initialise-experts: recorded as diverged: initialising expert 0" in capsys.readouterr().err
    start = [
        f"--experts={experts / 'adapter.safetensors'}",
        f"--experts-description={experts / 'adapter.json'}",
    ]
    assert cli.main(command(made, "pretrain", pretrained, 0.01, "--trial", *start)) == 0
    assert_lost(pretrained)
    record = read_record(pretrained / "run.jsonl")
    assert (record.stage, record.arm, record.seed) == ("pretrain", "saml", 1)
    assert record.settings["pretraining"]["learning_rate"]["expert"] == 0.01


def test_an_adaptation_that_diverges(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Noted on trial, an error otherwise."""
    assert cli.main(command(made, "adapt", tmp_path / "trial", HUGE, "--trial")) == 0
    assert_lost(tmp_path / "trial")
    assert read_record(tmp_path / "trial" / "run.jsonl").speaker == "t"
    assert cli.main(command(made, "adapt", tmp_path / "own", HUGE)) == 1
    assert "not finite" in capsys.readouterr().err and not (tmp_path / "own" / "run.jsonl").exists()


def test_a_trial_that_goes_well_is_the_stage_itself(made: Path, tmp_path: Path) -> None:
    for name, more in (("trial", ["--trial"]), ("own", [])):
        assert cli.main(command(made, "adapt", tmp_path / name, 0.01, *more)) == 0
    trial, own = ((tmp_path / name / "adapter.safetensors").read_bytes() for name in ("trial", "own"))
    assert trial == own
    record = read_record(tmp_path / "trial" / "run.jsonl")
    assert "dev/loss" in record.scores and "diverged" not in record.scores


def test_other_errors_stay_errors(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments: list[Any] = command(made, "adapt", tmp_path / "trial", 0.01, "--trial")
    arguments[arguments.index("--splits") + 1] = str(tmp_path / "nowhere.json")
    assert cli.main(arguments) == 1
    assert "nowhere.json: no such file" in capsys.readouterr().err
    assert not (tmp_path / "trial" / "run.jsonl").exists()
