"""The main job, small: the real stages under Snakemake, from no speech to tables, figures and MLflow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXPERIMENT = Path("results/tiny")


def snakemake(project: Path, *arguments: str) -> str:
    binaries = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = ["snakemake", "--cores", "2", *arguments, "--configfile", "tests/configurations/tiny.yaml"]
    command += ["--max-jobs-per-timespan", "100/1s"]  # it ends so long after its last job (profiles/default)
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's workflow, in which the tiny experiment has run."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("Snakefile", "workflow", "config", "environment.yaml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "tests").mkdir()
    shutil.copytree(ROOT / "tests/configurations", folder / "tests/configurations")
    (folder / "profiles").symlink_to("workflow/profiles")
    output = snakemake(folder, "all")
    (folder / "output.txt").write_text(output)
    return folder


def test_it_ends_with_the_table_and_where_to_look(project: Path) -> None:
    output = (project / "output.txt").read_text()
    assert all(arm in output for arm in ("fp32", "nf4", "nf4-lora", "pqm", "saml"))
    assert "mlflow" in output


def test_tables_hold_what_the_hypotheses_say(project: Path) -> None:
    """One cell of wer.csv recounted with another alignment library's plain word lists."""
    wer = pd.read_csv(project / EXPERIMENT / "tables/wer.csv", dtype={"seed": str})
    assert len(wer) == 5 * 2 * 2  # arms, speakers, scorers; one seed
    row = wer[(wer.arm == "saml") & (wer.speaker == "de_f2_r155_p55") & (wer.scorer == "released")].iloc[0]
    path = project / EXPERIMENT / "speakers/de_f2_r155_p55/saml/seed1/hypotheses.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    test = [line for line in lines if line["part"] == "test"]
    assert row.utterances == len(test) == 4
    assert row.words == sum(len(line["reference"].split()) for line in test) == 4 * 6
    assert row.hits + row.substitutions + row.deletions == row.words
    assert row.wer == pytest.approx(
        (row.substitutions + row.deletions + row.insertions) / row.words, abs=1e-6
    )


def test_routes_of_every_speaker_are_in_the_tables(project: Path) -> None:
    """Weights of two experts, which sum to 1 in every layer."""
    routing = pd.read_csv(project / EXPERIMENT / "tables/routing.csv")
    sums = routing.groupby(["speaker", "layer"])["weight"].sum()
    assert len(sums) == 2 * 3  # speakers; one encoder layer, the decoder's two routes
    assert sums.to_numpy() == pytest.approx(1.0, abs=1e-4)
    routers = pd.read_csv(project / EXPERIMENT / "tables/routers.csv")
    assert routers["kind"].tolist() == ["all", "encoder_self", "decoder_self", "cross"]
    assert ((routers["effective"] >= 1) & (routers["effective"] <= 2)).all()


def test_a_second_run_finds_nothing_to_do(project: Path) -> None:
    assert "Nothing to be done" in snakemake(project, "all")


def test_one_speaker_again_gives_the_same_bytes_and_leaves_the_other(project: Path) -> None:
    folder = project / EXPERIMENT / "speakers"
    mine, other = folder / "de_f2_r155_p55/saml/seed1", folder / "fr_m3_r165_p40/saml/seed1"
    before = {file: (mine / file).read_bytes() for file in ("adapter.safetensors", "hypotheses.jsonl")}
    stamps = {file: (file.stat().st_mtime_ns) for file in other.iterdir()}
    made = (mine / "adapter.safetensors").stat().st_mtime_ns
    target = str((mine / "hypotheses.jsonl").relative_to(project))
    snakemake(project, target, "--forcerun", str((mine / "adapter.safetensors").relative_to(project)))
    assert (mine / "adapter.safetensors").stat().st_mtime_ns > made
    assert {file: (mine / file).read_bytes() for file in before} == before
    assert {file: (file.stat().st_mtime_ns) for file in other.iterdir()} == stamps


def test_nothing_is_left_behind(project: Path) -> None:
    """Checkpoints go with their jobs; logs stay."""
    work = project / EXPERIMENT / ".work"
    assert not work.exists() or not [path for path in work.rglob("*") if path.is_file()]
    assert (project / EXPERIMENT / "logs/train_base.log").read_text()
    assert (project / "results/mlflow/mlflow.db").exists()
