"""A store that several publishers share: duplicates and abandoned runs."""

import os
import socket
import subprocess
import time
from dataclasses import replace

from saml.tracking.location import default_store
from saml.tracking.mlflow_store import CLAIM, CONTENT, Draft, Store
from saml.tracking.runs import Metric


def test_duplicates_on_a_shared_store_are_removed(results, client):
    """Of two publishers that did not see each other, as on a server: one run is kept."""
    store = Store(default_store(results), artefacts=results / "mlflow" / "artifacts")
    experiment = store.experiment("shared", "tiny")
    draft = Draft("a", "key", "content", 1000, 2000, {"stage": "decode"}, {}, [Metric("wer", 0.5, 1000, 0)])
    other = client.create_run(experiment, tags={"saml.key": "key", CLAIM: "elsewhere 1 9999999999"})
    first = store.write(experiment, draft)
    # The other run is still being written: it is left alone.
    assert {known.run for known in store.index(experiment)["key"]} == {first, other.info.run_id}
    # It is complete and has a child: the duplicate is deleted, its child is not.
    client.set_tag(other.info.run_id, CONTENT, "content")
    parents = {"b": first, "c": other.info.run_id}
    children = [store.write(experiment, replace(draft, key=k), parent=p) for k, p in parents.items()]
    kept = min(first, other.info.run_id)
    assert store.write(experiment, draft) == kept
    assert [known.run for known in store.index(experiment)["key"]] == [kept]
    assert {client.get_run(child).data.tags["mlflow.parentRunId"] for child in children} == {kept}


def test_incomplete_runs_of_a_dead_publisher_are_deleted(results, client):
    store = Store(default_store(results), artefacts=results / "mlflow" / "artifacts")
    experiment = store.experiment("shared", "tiny")
    client.create_run(experiment, tags={"saml.key": "key", CLAIM: "elsewhere 1 1000"})
    assert store.index(experiment) == {}


def test_incomplete_runs_of_this_machine_are_kept_while_their_process_lives(results, client):
    store = Store(default_store(results), artefacts=results / "mlflow" / "artifacts")
    experiment = store.experiment("shared", "tiny")
    ended = subprocess.Popen(["true"])
    ended.wait()
    claims = {
        process: f"{socket.gethostname()} {process} {time.time():.0f}" for process in (os.getpid(), ended.pid)
    }
    for process, claim in claims.items():
        client.create_run(experiment, tags={"saml.key": f"key{process}", CLAIM: claim})
    assert set(store.index(experiment)) == {f"key{os.getpid()}"}
