"""Damaged inputs and outputs that cannot be written: a one-line error, and no partial files.

| fault                                            | message                                              |
|--------------------------------------------------|------------------------------------------------------|
| an input is removed                              | its name, "no such file" or what to run again        |
| an input is truncated                            | its name, and that it is damaged                     |
| one byte of a stored model or adapter is changed | its name, "checksum differs"                         |
| the disk is full                                 | the output's name, "No space left on device"         |
| the file system is read-only                     | the output's name, "Read-only file system"           |
| an output path is a folder                       | the output's name, "Is a directory"                  |
| too little memory                                | "out of memory", and the settings to reduce          |
| the clock runs backwards                         | nothing: the same bytes                              |
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from saml.cli import main as cli
from saml.tracking import read_record
from tests.faults.commands import INPUTS, OUTPUTS, adapt

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def inputs(made: Path, tmp_path: Path) -> Path:
    """Copies of the inputs of an adaptation; the features remain in place."""
    for file in (*INPUTS.values(), "tokenizer.json"):
        (tmp_path / "in" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / file, tmp_path / "in" / file)
    return tmp_path / "in"


def outputs(out: Path) -> list[str]:
    return sorted(path.name for path in out.rglob("*") if path.is_file() and "work" not in path.parts)


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of the command's errors, without the progress before it."""
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.splitlines()[-1]


@pytest.mark.parametrize("flag", INPUTS)
@pytest.mark.parametrize("damage", ["removed", "truncated", "emptied"])
def test_a_damaged_input_is_named(
    flag: str, damage: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = inputs / INPUTS[flag]
    data = path.read_bytes()
    path.unlink()
    if damage != "removed":
        path.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"")
    assert cli.main(adapt(inputs, tmp_path / "out")) == 1
    line = line_of(capsys)
    assert line.startswith(f"saml adapt: error: {path}: ")
    assert outputs(tmp_path / "out") == []


@pytest.mark.parametrize("flag", ["weights", "adapter"])
@pytest.mark.parametrize("place", [0.01, 0.5, 0.999])
def test_a_changed_byte_in_a_stored_model_is_noticed(
    flag: str, place: float, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = inputs / INPUTS[flag]
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    assert cli.main(adapt(inputs, tmp_path / "out")) == 1
    assert f"saml adapt: error: {path}: checksum differs" in line_of(capsys)
    assert outputs(tmp_path / "out") == []


def test_a_folder_in_the_place_of_an_output(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / OUTPUTS["out-adapter"] / "full").mkdir(parents=True)
    assert cli.main(adapt(made, tmp_path / "out")) == 1
    line = line_of(capsys)
    assert OUTPUTS["out-adapter"] in line and "Is a directory" in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 kB, too small for an adapter."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "none", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.system
def test_a_full_disk(made: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No checkpoint fits either, which is only reported; with more space the same command works."""
    (small_disk / "ballast").write_bytes(bytes(44 * 1024))
    assert cli.main(adapt(made, small_disk)) == 1
    error = capsys.readouterr().err
    assert "checkpoint not saved (No space left on device); going on" in error
    output = small_disk / OUTPUTS["out-adapter"]
    assert error.splitlines()[-1] == f"saml adapt: error: {output}: No space left on device"
    assert "Traceback" not in error
    assert outputs(small_disk) == ["ballast"]
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert cli.main(adapt(made, small_disk)) == 0


@pytest.mark.system
def test_a_file_system_that_can_only_be_read(
    made: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert cli.main(adapt(made, small_disk)) == 1
    assert "Read-only file system" in line_of(capsys)


def test_memory_that_does_not_suffice(made: Path, tmp_path: Path) -> None:
    """A limit on the process, slightly above its memory when training begins."""
    command = [sys.executable, str(ROOT / "tests/faults/short_of_memory.py"), *adapt(made, tmp_path / "out")]
    variables = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "saml adapt: error: out of memory: give the job more, or lower adaptation.batch_utterances"
    )
    assert outputs(tmp_path / "out") == []
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_a_clock_that_runs_backwards(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour back at every call; only the start time in the record depends on it."""
    assert cli.main(adapt(made, tmp_path / "forwards")) == 0
    now = [time.time()]

    def backwards() -> float:
        now[0] -= 3600.0
        return now[0]

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", backwards)
        assert cli.main(adapt(made, tmp_path / "backwards")) == 0
    for name in ("adapter.safetensors", "adapter.json"):
        assert (tmp_path / "forwards" / name).read_bytes() == (tmp_path / "backwards" / name).read_bytes()
    record = read_record(tmp_path / "backwards/run.jsonl")
    assert record.finished is not None and record.finished >= record.started
    assert all(seconds >= 0 for seconds in record.durations.values())
