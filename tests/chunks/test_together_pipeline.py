"""Speakers in the same batches, by the real stages under Snakemake: files, tables, and what runs again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from saml.adapters.store import load_adapter

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SPEAKERS = ["de_f2_r155_p55", "fr_m3_r165_p40"]
TABLE = "results/tiny/tables/wer.csv"


def snakemake(project: Path, *arguments: str, together: bool = True, size: int = 2) -> str:
    """Run the tiny experiment's arms without pre-training, up to the table."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["snakemake", "--cores", "2", TABLE, *arguments]
    command += ["--configfile", "tests/configurations/tiny.yaml", "--config", f"speakers_per_job={size}"]
    command += [f"speakers_together={together}", "run_arms=[fp32, nf4, nf4-lora]"]
    done = subprocess.run(
        command,
        cwd=project,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def folder(project: Path, speaker: str) -> Path:
    return project / f"results/tiny/speakers/{speaker}/nf4-lora/seed1"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's workflow, in which that has run."""
    project = tmp_path_factory.mktemp("project")
    for name in ("Snakefile", "workflow", "config", "environment.yaml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, project / name)
    shutil.copytree(ROOT / "tests/configurations", project / "tests/configurations")
    (project / "profiles").symlink_to("workflow/profiles")
    snakemake(project)
    return project


def test_the_files_are_those_of_jobs_of_their_own(project: Path) -> None:
    log = project / "results/tiny/logs/each/adapt/nf4-lora/1/from_de_f2_r155_p55.log"
    assert "adapting nf4-lora to 2 speakers" in log.read_text()
    for speaker in SPEAKERS:
        names = {path.name for path in folder(project, speaker).iterdir()}
        assert names >= {"adapter.safetensors", "adapter.json", "adaptation.jsonl", "hypotheses.jsonl"}
        model = json.loads((project / "results/tiny/models/nf4/model.json").read_text())
        own = folder(project, speaker)
        stored = load_adapter(own / "adapter.safetensors", own / "adapter.json", model)
        assert stored.folds
        record = json.loads((own / "adaptation.jsonl").read_text().splitlines()[0])
        assert record["speaker"] == speaker
    work = project / "results/tiny/.work"
    assert not [path for path in work.rglob("*") if path.is_file() and path.name != "chunks.json"]
    wer = pd.read_csv(project / TABLE)
    assert set(zip(wer.arm, wer.speaker, strict=True)) == {
        (arm, speaker) for arm in ("fp32", "nf4", "nf4-lora") for speaker in SPEAKERS
    }


@pytest.mark.parametrize(("together", "size"), [(True, 2), (False, 2), (False, 1)])
def test_another_setting_finds_nothing_to_do(project: Path, together: bool, size: int) -> None:
    assert "Nothing to be done" in snakemake(project, "--dry-run", together=together, size=size)


def test_one_speaker_again_leaves_the_other(project: Path) -> None:
    mine, other = (folder(project, speaker) / "adapter.safetensors" for speaker in SPEAKERS)
    before = other.stat().st_mtime_ns, other.read_bytes()
    mine.unlink()
    snakemake(project)
    assert mine.exists() and (other.stat().st_mtime_ns, other.read_bytes()) == before
