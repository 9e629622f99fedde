"""Publication to a real `mlflow server`: one that is killed, one with concurrent trackers, a silent one."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from saml.runtime.errors import SamlError
from saml.tracking import RunRecord
from saml.tracking.mlflow_store import MlflowClient
from saml.tracking.publish import publish
from saml.tracking.runs import find_records
from tests.debian import Unavailable, wait_until
from tests.faults.experiment import ROOT, Experiment
from tests.tracking.servers import MlflowServer, driver, postgresql, silent


def write(results: Path, count: int) -> None:
    """Write `count` run records of one experiment."""
    for number in range(count):
        record = RunRecord(stage="decode", experiment="tiny", arm="saml", speaker=f"s{number}", seed=1)
        record.score("wer/whisper", number / 100)
        record.write(results / f"tiny/speakers/s{number}/saml/seed1/run.jsonl")


def runs(server: MlflowServer, tag: str) -> Counter[str]:
    """The number of complete, undeleted runs on the server for each value of a tag."""
    client = MlflowClient(server.address)
    experiments = [each.experiment_id for each in client.search_experiments()]
    found = client.search_runs(experiments, "tags.`saml.content` LIKE '%'", max_results=1000)
    return Counter(run.data.tags[tag] for run in found if tag in run.data.tags)


def tracker(results: Path, server: MlflowServer, *arguments: str) -> subprocess.Popen[str]:
    """`saml track` in its own process; a dead server is noticed at once."""
    command = [
        sys.executable,
        "-m",
        "saml.cli.main",
        "track",
        str(results),
        "--store",
        server.address,
        *arguments,
    ]
    variables = {"PYTHONPATH": str(ROOT), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    return subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    """A server with an SQLite file behind it."""
    with MlflowServer(tmp_path, f"sqlite:///{tmp_path}/server.db") as running:
        yield running


@pytest.mark.system
def test_a_server_that_dies_in_the_middle_has_every_record_once(server: MlflowServer, tmp_path: Path) -> None:
    results, done = tmp_path / "results", tmp_path / "done"
    write(results, 30)
    follower = tracker(results, server, "--follow", "--every", "1", "--until", str(done))
    wait_until(lambda: runs(server, "speaker").total() >= 3, "nothing is published", seconds=120)
    server.kill()
    time.sleep(3)
    write(results, 40)  # ten new ones, and thirty rewritten ones
    server.start()
    wait_until(lambda: len(runs(server, "speaker")) == 40, "not all records arrive", seconds=240)
    done.touch()
    printed = follower.communicate(timeout=240)[0]
    assert follower.returncode == 0, printed
    assert "does not answer" in printed and "are safe" in printed
    assert runs(server, "speaker") == Counter(f"s{number}" for number in range(40))


@pytest.mark.system
def test_eight_trackers_on_a_server_with_postgresql_behind_it(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write(results, 12)
    try:
        modules = driver(tmp_path / "modules")
        with (
            postgresql(tmp_path) as database,
            MlflowServer(tmp_path, database, modules=modules) as server,
        ):
            trackers = [tracker(results, server) for _ in range(8)]
            printed = [each.communicate(timeout=600)[0] for each in trackers]
            assert [each.returncode for each in trackers] == [0] * 8, printed
            assert runs(server, "speaker") == Counter(f"s{number}" for number in range(12))
    except Unavailable as error:
        pytest.skip(f"no PostgreSQL here: {error}")


@pytest.mark.system
@pytest.mark.timeout(1200)
def test_an_experiment_never_notices_that_its_server_dies(server: MlflowServer, tmp_path: Path) -> None:
    """A follower beside the run, the server killed after the first runs and back before the end."""
    experiment = Experiment.make(tmp_path / "project")
    experiment.results.mkdir(parents=True)
    follower = tracker(experiment.results, server, "--follow", "--every", "1")
    outage: list[str] = []

    def disturb() -> None:
        wait_until(lambda: runs(server, "speaker").total() >= 3, "nothing is published", seconds=600)
        server.kill()
        time.sleep(20)
        server.start()
        outage.append("over")

    disturber = threading.Thread(target=disturb)
    disturber.start()
    experiment.run("all", "--cores", "2", MLFLOW_TRACKING_URI=server.address)
    disturber.join(timeout=600)
    assert outage == ["over"]
    follower.send_signal(signal.SIGTERM)
    printed = follower.communicate(timeout=240)[0]
    assert follower.returncode == 0, printed
    paths = {path for path, _ in find_records(experiment.results.parent, experiment.results.name)}
    again = publish(experiment.results, store=server.address)
    assert (again.published, again.replaced, again.unchanged) == (0, 0, len(paths))
    assert set(runs(server, "saml.key").values()) == {1}


@pytest.mark.timeout(120)
def test_a_server_that_never_answers_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    write(tmp_path / "results", 2)
    with (
        silent() as address,
        pytest.raises(SamlError, match="does not answer .* are safe, publish them later"),
    ):
        publish(tmp_path / "results", store=address)
