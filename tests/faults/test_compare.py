"""Comparison of two experiments byte for byte, without files that contain times."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.compare import compare
from tests.faults.experiment import ROOT

FILES = {
    "tables/wer.csv": b"arm,wer\nsaml,0.1\n",
    "speakers/anna/saml/seed1/adapter.safetensors": bytes(range(256)),
    "enrolment/2/speakers/anna/saml/seed1/hypotheses.jsonl": b"{}\n",
}
PASSED_OVER = ("tables/tables.jsonl", "speakers/anna/saml/seed1/run.jsonl", "logs/a.log", "figures/wer.svg")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """An experiment and a copy that differs only in skipped files."""
    one, other = tmp_path / "one", tmp_path / "other"
    for name in (*FILES, *PASSED_OVER):
        path = one / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES.get(name, b"12:00"))
    shutil.copytree(one, other)
    for name in PASSED_OVER:
        (other / name).write_bytes(b"13:00")
    return one, other


def test_the_same_bytes(two: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "tests.faults.compare", *map(str, two)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 files compared, all the same\n", "")


def test_one_byte_changed(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    name = "speakers/anna/saml/seed1/adapter.safetensors"
    (two[1] / name).write_bytes(bytes([1, *range(1, 256)]))
    assert compare(*two) == 1
    expected = f"differs: {name}\n3 files compared, 1 differ or are missing\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("lacking", [0, 1])
def test_one_file_missing(lacking: int, two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (two[lacking] / "tables/wer.csv").unlink()
    assert compare(*two) == 1
    assert f"missing in {two[lacking]}: tables/wer.csv\n" in capsys.readouterr().out


def test_a_folder_without_an_experiment(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Two empty folders are not the same experiment."""
    assert compare(two[0], two[1] / "tables") == 1
    assert f"{two[1] / 'tables'}: no experiment" in capsys.readouterr().err
