"""Checkpoints within an epoch: the same bytes wherever a job was cut short, and nothing damaged is used."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from saml.corpora.manifests import read_cuts
from saml.runtime.errors import Interrupted
from saml.tracking import read_record
from saml.training import checkpoints as checkpoints_module
from saml.training import engine
from saml.training.checkpoints import Checkpoints, identity
from tests.training import conftest as run
from tests.training.conftest import LORA_ARM, SAML_ARM


class Stopped(Exception):
    """What stands for a kill in the tests: nothing in the program handles it."""


def stop_at(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Let the given call of the loss, in training or on the dev part, end the job."""
    real, count = engine.utterance_losses, iter(range(calls))

    def losses(*arguments: Any, **options: Any) -> Any:
        if next(count, None) is None:
            raise Stopped
        return real(*arguments, **options)

    monkeypatch.setattr(engine, "utterance_losses", losses)


def job(stage: str, made: Path) -> Callable[..., None]:
    """A function that runs a stage into the name it is given."""
    start = {"experts": made / "experts.safetensors", "experts_description": made / "experts.json"}
    jobs: dict[str, Callable[..., None]] = {
        "base": lambda name, **how: run.train_base(made, name, **how),
        "experts": lambda name, **how: run.mixture(made, "initialise_experts", name, SAML_ARM, **how),
        "pretrain": lambda name, **how: run.mixture(made, "pretrain", name, SAML_ARM, **start, **how),
        "adapt": lambda name, **how: run.adapt(made, name, SAML_ARM, "saml", splits=made / "cv.json", **how),
    }
    return jobs[stage]


def curves(path: Path) -> list[tuple[str, int, float]]:
    return [(point.name, point.step, point.value) for point in read_record(path).points]


@pytest.mark.parametrize("stage", ["base", "experts", "pretrain", "adapt"])
def test_cut_short_anywhere_gives_the_same_bytes(
    stage: str,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Killed again and again, each time after two more batches, until it comes through."""
    whole = job(stage, made)
    whole("undisturbed")
    tries = 0
    while tries < 100:
        tries += 1
        with monkeypatch.context() as patch:
            stop_at(patch, 2)
            try:
                whole("disturbed", work=tmp_path / "work", checkpoint_seconds=0.0)
                break
            except Stopped:
                pass
    assert tries > 1 and "done before" in capsys.readouterr().err
    assert (made / "undisturbed.safetensors").read_bytes() == (made / "disturbed.safetensors").read_bytes()
    assert curves(made / "undisturbed.run.jsonl") == curves(made / "disturbed.run.jsonl")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "replaced"])
def test_a_damaged_checkpoint_is_named_and_not_used(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path, {"seed": 1})
    state = {"weights": torch.arange(1000.0), "at": {"shown": 3}}
    assert checkpoints.save(state)
    saved = checkpoints.load()
    assert saved is not None and torch.equal(saved["weights"], state["weights"])
    path = tmp_path / "checkpoint.pt"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    if damage == "flipped":
        data[middle] ^= 1
    changed = {"truncated": data[:middle], "flipped": data, "emptied": b"", "replaced": b"no\ncheckpoint"}
    path.write_bytes(changed[damage])
    assert checkpoints.load() is None
    assert f"{path}: unreadable checkpoint ignored" in capsys.readouterr().err


def test_the_interval_is_no_part_of_the_identity(tmp_path: Path) -> None:
    Checkpoints(tmp_path, {"seed": 1}, seconds=0.0).save({"shown": 3})
    assert Checkpoints(tmp_path, {"seed": 1}, seconds=60.0).load() == {"shown": 3}
    assert Checkpoints(tmp_path, {"seed": 2}, seconds=0.0).load() is None


def test_identity_includes_seed_settings_inputs_and_processor(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of any other would give other bytes."""
    cuts = read_cuts(made / "target/cuts.jsonl.gz")
    here = identity({}, 1, cuts)
    assert here == identity({}, 1, cuts) and here["device"] == "cpu"
    assert here != identity({}, 2, cuts) and here != identity({"adapters": {}}, 1, cuts)
    assert here != identity({}, 1, cuts, made / "target/cuts.jsonl.gz")
    monkeypatch.setattr(checkpoints_module, "device", lambda: torch.device("cuda"))
    there = []
    for name in ("NVIDIA H200", "NVIDIA A100"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        there.append(identity({}, 1, cuts))
    assert here != there[0] != there[1]


def test_one_is_due_when_the_time_has_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    checkpoints = Checkpoints(tmp_path, {}, seconds=10.0)
    now[0] = 109.0
    assert not checkpoints.due
    now[0] = 110.0
    assert checkpoints.due
    checkpoints.save({})
    assert not checkpoints.due
    assert not Checkpoints(None, {}, seconds=0.0).due


def test_a_disk_without_room_costs_the_checkpoint_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one before stays, and no temporary file."""
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.save({"shown": 1})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert not checkpoints.save({"shown": 2})
    assert "checkpoint not saved (No space left on device)" in capsys.readouterr().err
    assert checkpoints.load() == {"shown": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("stage", ["base", "pretrain", "adapt"])
def test_who_is_asked_to_stop_while_the_last_checkpoint_is_written_stops(
    stage: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another training may follow in the same job, and take hours."""
    whole, save = job(stage, made), Checkpoints.save
    written: list[bool] = []

    def counted(self: Checkpoints, state: dict[str, Any]) -> bool:
        written.append(save(self, state))
        if len(written) == last:
            signal.raise_signal(signal.SIGTERM)
        return written[-1]

    monkeypatch.setattr(Checkpoints, "save", counted)
    last = 0
    whole("undisturbed", work=tmp_path / "work")
    last = len(written)
    written.clear()
    with pytest.raises(
        Interrupted, match=r"stopped by SIGTERM after (\d+) of \1 utterances; a checkpoint is"
    ):
        whole("disturbed", work=tmp_path / "work")
    whole("disturbed", work=tmp_path / "work")
    assert (made / "undisturbed.safetensors").read_bytes() == (made / "disturbed.safetensors").read_bytes()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_stopped_by_ctrl_c_ends_with_its_status(
    by: signal.Signals, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shell says of a program that a signal ended: 128 and its number."""
    save = Checkpoints.save

    def stopped(self: Checkpoints, state: dict[str, Any]) -> bool:
        monkeypatch.undo()  # a second signal would end the tests
        signal.raise_signal(by)
        return save(self, state)

    monkeypatch.setattr(Checkpoints, "save", stopped)
    with pytest.raises(Interrupted) as error:
        job("pretrain", made)("stopped", work=tmp_path / "work")
    assert error.value.status == {signal.SIGTERM: 143, signal.SIGINT: 130}[by]


@pytest.mark.slow
def test_a_job_that_is_asked_to_stop_saves_and_goes_on_later(made: Path, tmp_path: Path) -> None:
    """A real process, no checkpoint due for an hour: it saves one because it is asked to stop."""
    settings = run.settings("adapters", "adaptation", "partition", arm=LORA_ARM)
    settings["adaptation"] = {**settings["adaptation"], "epochs": 12}
    files = {"weights": "nf4.safetensors", "description": "nf4.json", "cuts": "target/cuts.jsonl.gz"}
    command = [
        sys.executable,
        "-m",
        "saml.cli.main",
        "adapt",
        "--experiment=test",
        "--arm=lora",
        "--speakers=t",
    ]
    command += ["--seed=1", f"--settings={json.dumps(settings)}", f"--splits={made / 'splits.json'}"]
    command += [f"--{name}={made / file}" for name, file in files.items()]

    def outputs(name: str) -> list[str]:
        kinds = {"out-adapter": "safetensors", "out-description": "json", "record": "run.jsonl"}
        return [f"--{flag}={tmp_path / name}.{kind}" for flag, kind in kinds.items()]

    resumable = [*command, *outputs("parts"), f"--work={tmp_path / 'work'}", "--checkpoint-seconds=3600"]
    process = subprocess.Popen(resumable, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "work/checkpoint.pt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 143, error
    assert "saml adapt: error: adapting lora to t: stopped by SIGTERM after " in error
    assert "of 48 utterances; a checkpoint is saved: the same command goes on from there" in error
    assert "Traceback" not in error and not (tmp_path / "parts.safetensors").exists()
    again = subprocess.run(resumable, capture_output=True, text=True, check=True)
    assert "done before" in again.stderr
    subprocess.run([*command, *outputs("whole")], check=True, capture_output=True)
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
