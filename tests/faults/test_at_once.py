"""Concurrent processes: two Snakemakes in one folder, eight trackers with one store."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from saml.tracking import RunRecord
from tests.workflow.workflow_project import ROOT, STAND_IN, make_project


def test_a_second_snakemake_is_refused_and_the_first_continues(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    slow = STAND_IN.replace("#!/bin/bash\n", "#!/bin/bash\nwhile [[ ! -e go ]]; do sleep 0.05; done\n", 1)
    (tmp_path / "bin/saml").write_text(slow, encoding="utf-8")
    target = "results/test/data/corpus/recordings.jsonl.gz"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores=1"]
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "VERSION": "0", "FAIL": ""}
    first = subprocess.Popen(
        [*command, target],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    locks = tmp_path / ".snakemake/locks"
    while not (locks.exists() and any(locks.iterdir())):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    second = project.snakemake("--cores", "1", target)
    (tmp_path / "go").touch()
    printed = first.communicate(timeout=120)[0]
    assert second.status != 0 and re.search("cannot be locked|LockException", second.text), second.text
    assert first.returncode == 0, printed
    assert (tmp_path / target).exists()


@pytest.mark.system
def test_eight_trackers_on_one_store(tmp_path: Path) -> None:
    """All of them publish all records; each record is stored once."""
    results = tmp_path / "results"
    for number in range(20):
        record = RunRecord(stage="decode", experiment="tiny", arm="saml", speaker=f"s{number}", seed=1)
        record.score("wer/whisper", number / 100)
        record.write(results / f"tiny/speakers/s{number}/saml/seed1/run.jsonl")
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "saml.cli.main", "track", str(results)]
    trackers = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(8)
    ]
    printed = [tracker.communicate(timeout=500)[0] for tracker in trackers]
    assert [tracker.returncode for tracker in trackers] == [0] * 8, printed
    with sqlite3.connect(results / "mlflow/mlflow.db") as store:
        names = [name for (name,) in store.execute("select value from tags where key = 'speaker'").fetchall()]
    assert sorted(names) == sorted(f"s{number}" for number in range(20))
