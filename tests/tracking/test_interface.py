"""MLflow's own interface on a store: the links that open a comparison, and a results folder that is moved."""

import json
import os
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from saml.runtime.errors import SamlError
from saml.tracking import interface
from saml.tracking.location import default_store, shown
from saml.tracking.publish import Counts, publish
from saml.tracking.views import experiment_tags, page
from tests.tracking.records import CONFIG
from tests.tracking.servers import free_port


@contextmanager
def served(results: Path) -> Iterator[str]:
    """The interface that `saml mlflow` starts on `results`; its address."""
    port = free_port()
    with (results / "server.log").open("wb") as log:
        process = subprocess.Popen(
            interface.command(default_store(results), port),
            cwd=results.parent.parent,
            env={**os.environ, "DO_NOT_TRACK": "true"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield wait_for(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(address: str, seconds: float = 240) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return address
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no answer at {address}")


def ask(address: str, what: str, **content: Any) -> Any:
    """The answer of MLflow's interface over HTTP, as the browser asks."""
    body = json.dumps(content).encode() if content else None
    request = urllib.request.Request(
        f"{address}/{what}", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.slow
def test_the_files_of_runs_are_found_after_the_results_were_moved(results: Path, tmp_path: Path) -> None:
    published = publish(results, parent=CONFIG)
    moved = tmp_path / "elsewhere" / "results"
    moved.parent.mkdir()
    results.rename(moved)
    with served(moved) as address:
        (link,) = published.pages.values()
        experiment = link.split("/")[3]
        found = ask(
            address,
            "api/2.0/mlflow/runs/search",
            experiment_ids=[experiment],
            filter="tags.stage = 'decode' AND tags.speaker = 'x' AND tags.arm = 'saml'",
        )["runs"]
        run = found[0]["info"]["run_id"]
        listed = ask(address, f"api/2.0/mlflow/artifacts/list?run_id={run}")["files"]
        assert {file["path"] for file in listed} == {"hypotheses.jsonl", "run.jsonl"}
        assert ask(address, f"get-artifact?path=hypotheses.jsonl&run_uuid={run}") == {"utterance": "a"}
        # The saved view that the link names is one of the experiment's tags on this server.
        tags = ask(address, f"api/2.0/mlflow/experiments/get?experiment_id={experiment}")["experiment"][
            "tags"
        ]
        assert f"mlflow.sharedViewState.{view_of(link)}" in {tag["key"] for tag in tags}
    # Published again from the new place, nothing is new.
    again = publish(moved, parent=CONFIG)
    assert (again.published, again.unchanged, again.problems) == (0, 4, [])


def view_of(link: str) -> str:
    return urllib.parse.parse_qs(link.partition("?")[2])["viewStateShareKey"][0]


def test_a_link_opens_a_view_that_experiments_have() -> None:
    link = page("7")
    assert link.startswith("/#/experiments/7/runs?")
    view = json.loads(experiment_tags()[f"mlflow.sharedViewState.{view_of(link)}"])
    assert "params.`learning_rate`" in json.loads(view["state"])["selectedColumns"]


def test_where_to_look_names_a_command_and_a_link_of_each_experiment() -> None:
    counts = Counts("sqlite:////r/mlflow/mlflow.db", pages={"a: b": page("1"), "a: c": page("2")})
    text = interface.where_to_look(counts, Path("results"), None)
    assert text.splitlines() == [
        "Comparison of the runs: start `saml mlflow results`, then open",
        f"  http://127.0.0.1:5000{page('1')}",
        f"  http://127.0.0.1:5000{page('2')}",
    ]
    server = Counts("http://tracker:5000/", pages={"a: b": page("1")})
    text = interface.where_to_look(server, Path("results"), server.store)
    assert text == f"Comparison of the runs:\n  http://tracker:5000{page('1')}"
    assert interface.where_to_look(Counts("sqlite:///x.db"), Path("results"), None) == ""


@pytest.mark.parametrize(
    ("store", "printed"),
    [
        ("https://ann:secret@runs.example.org:8443/x", "https://ann:***@runs.example.org:8443/x"),
        ("https://ann:p@ss:word@runs.example.org", "https://ann:***@runs.example.org"),
        ("postgresql://ann:secret@localhost/runs", "postgresql://ann:***@localhost/runs"),
        ("https://ann@runs.example.org", "https://ann@runs.example.org"),
        ("sqlite:///here/mlflow.db", "sqlite:///here/mlflow.db"),
        ("mlruns", "mlruns"),
    ],
)
def test_a_password_is_not_printed(store: str, printed: str) -> None:
    """Neither in links nor in the command that starts the interface."""
    assert shown(store) == printed
    counts = Counts(store, pages={"digits": "/#/experiments/1"})
    said = interface.where_to_look(counts, Path("results"), store)
    assert printed in said and "secret" not in said and "word" not in said


def test_a_store_that_does_not_answer_is_named_without_its_password(results: Path) -> None:
    with pytest.raises(SamlError, match=r"ann:\*\*\*@127.0.0.1.*does not answer") as error:
        publish(results, store=f"http://ann:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(error.value)


def test_an_experiment_of_an_earlier_version_gets_the_present_views(results: Path, client: Any) -> None:
    old = client.create_experiment(
        "synthetic: conformer",
        artifact_location=(results / "old").as_uri(),
        tags={"mlflow.sharedViewState.saml-wer": "{}", "mlflow.note.content": "a note of the user's"},
    )
    assert publish(results, parent=CONFIG).problems == []
    tags = client.get_experiment(old).tags
    assert tags["mlflow.sharedViewState.saml-wer"] == experiment_tags()["mlflow.sharedViewState.saml-wer"]
    assert tags["mlflow.note.content"] == "a note of the user's"
    # Its artefacts stay where that experiment has them.
    assert len(list((results / "old").rglob("hypotheses.jsonl"))) == 4


def test_where_no_run_has_ended_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.append(program))
    (tmp_path / "mine" / "logs").mkdir(parents=True)
    with pytest.raises(SamlError, match="there is no run to show yet; run the experiment first"):
        interface.open_interface(tmp_path)
    assert not started
