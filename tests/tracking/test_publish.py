"""Publication to a real SQLite store, and to an unreachable server."""

import json
import re
import shutil
import threading
import time

import pytest

from saml.runtime.errors import SamlError
from saml.tracking import RunRecord
from saml.tracking.mlflow_store import MlflowClient
from saml.tracking.publish import Publisher, publish
from tests.tracking.records import CONFIG, all_runs, artefacts, write


def test_publishing_twice_creates_each_run_once(results, client):
    first = publish(results, parent=CONFIG)
    again = publish(results, parent=CONFIG)
    assert (first.published, first.problems) == (4, [])
    assert (again.published, again.replaced, again.unchanged, again.problems) == (0, 0, 4, [])
    found = all_runs(client)
    names = ["nf4 it's y seed1", "nf4 x seed1", "saml it's y seed1", "saml x seed1"]
    assert [run.info.run_name for run in found] == names
    assert {e.name for e in client.search_experiments()} == {"Default", "synthetic: conformer"}


def test_a_run_has_metrics_curves_parameters_tags_and_files(results, client):
    publish(results, parent=CONFIG)
    run = all_runs(client)[-1]
    assert run.data.metrics["wer/whisper"] == 0.5
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted((m.step, m.value) for m in curve) == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert run.data.params["adapters.rank"] == "1"
    assert run.data.params["arm"] == "saml"
    assert {k: run.data.tags[k] for k in ("arm", "speaker", "seed", "stage")} == {
        "arm": "saml",
        "speaker": "x",
        "seed": "1",
        "stage": "decode",
    }
    assert "revision" in run.data.tags
    assert run.info.status == "FINISHED"
    assert artefacts(results, run) == {"hypotheses.jsonl", "run.jsonl"}
    parent = all_runs(client, "pipeline")[0]
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert artefacts(results, parent) == {"config.yaml"}
    assert parent.data.params["model.family"] == "conformer"


def test_the_pipeline_run_starts_with_its_first_record(results, client):
    """In any order of the records: here the last one by name is the oldest."""
    path = sorted((results / "tiny").rglob("run.jsonl"))[-1]
    head, rest = path.read_text().split("\n", 1)
    content = json.loads(head)
    content["finished"], content["durations"] = 1_700_000_060.0, {"decode": 60.0}
    path.write_text(json.dumps(content) + "\n" + rest)
    publish(results, parent=CONFIG)
    (pipeline,) = all_runs(client, "pipeline")
    assert pipeline.info.start_time == 1_700_000_000_000
    assert pipeline.info.end_time == max(run.info.end_time for run in all_runs(client))


def test_a_rewritten_record_replaces_its_run(results, client):
    publish(results, parent=CONFIG)
    write(results, "saml", "x", wer=0.25)
    counts = publish(results, parent=CONFIG)
    assert (counts.published, counts.replaced, counts.unchanged) == (0, 1, 3)
    found = all_runs(client)
    assert len(found) == 4
    assert found[-1].data.metrics["wer/whisper"] == 0.25
    assert len(client.get_metric_history(found[-1].info.run_id, "train/loss")) == 3
    assert len(all_runs(client, "pipeline")) == 1


def test_another_config_creates_another_parent_for_new_records_only(results, client):
    publish(results, parent=CONFIG)
    write(results, "saml", "z")
    publish(results, parent={**CONFIG, "seeds": [1, 2]})
    parents = [run.data.tags["mlflow.parentRunId"] for run in all_runs(client)]
    assert len(all_runs(client, "pipeline")) == 2
    assert len(set(parents[:4])) == 1 and parents[4] != parents[0]
    # Without a config, new records become children of the latest pipeline run.
    write(results, "saml", "zz")
    publish(results)
    assert len(all_runs(client, "pipeline")) == 2
    assert all_runs(client)[5].data.tags["mlflow.parentRunId"] == parents[4]


def test_the_folder_of_one_experiment_and_its_saved_config(results, client):
    (results / "tiny" / "config.yaml").write_text("experiment: tiny\ncorpus: {name: synthetic}\nseeds: [7]\n")
    (results / "other" / "tables").mkdir(parents=True)
    RunRecord(stage="tabulate", experiment="other").write(results / "other" / "tables" / "run.jsonl")
    assert publish(results / "tiny").published == 4
    assert all_runs(client, "pipeline")[0].data.params["seeds"] == "[7]"
    counts = publish(results)
    assert (counts.published, counts.unchanged) == (1, 4)
    assert "other" in {e.name for e in client.search_experiments()}


def test_a_half_written_record_is_named_and_skipped(results, client, capsys):
    path = write(results, "saml", "x")
    path.write_bytes(path.read_bytes()[:-30])
    counts = publish(results, parent=CONFIG)
    assert counts.published == 3
    assert len(counts.problems) == 1
    assert re.search(r"seed1/run\.jsonl: half-written", counts.problems[0])
    assert counts.problems[0] in capsys.readouterr().err
    assert "3 published, 0 replaced, 0 unchanged; problems listed above: 1" in str(counts)
    write(results, "saml", "x")
    assert publish(results, parent=CONFIG).published == 1


def test_a_missing_file_is_named_and_the_rest_published(results, client):
    (results / "tiny" / "speakers" / "x" / "saml" / "seed1" / "hypotheses.jsonl").unlink()
    counts = publish(results, parent=CONFIG)
    assert counts.published == 4
    assert len(counts.problems) == 1 and "hypotheses.jsonl is missing" in counts.problems[0]


def test_long_curves_arrive_whole(results, client):
    write(results, "saml", "x", points=2500)
    publish(results, parent=CONFIG)
    assert len(client.get_metric_history(all_runs(client)[-1].info.run_id, "train/loss")) == 2500


def test_concurrent_publishers_create_each_run_once(results, client):
    threads = [threading.Thread(target=publish, args=(results,), kwargs={"parent": CONFIG}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(all_runs(client)) == 4
    assert len(all_runs(client, "pipeline")) == 1


def test_an_interrupted_publication_is_completed(results, client, monkeypatch):
    calls = []

    def die(path, target):
        calls.append(path)
        if len(calls) == 3:  # after the two files of the first run
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("saml.tracking.mlflow_store.shutil.copyfile", die)
        patch.setattr(MlflowClient, "delete_run", lambda self, run: None)
        with pytest.raises(KeyboardInterrupt):
            publish(results, parent=CONFIG)
    assert len(all_runs(client)) == 2
    counts = publish(results, parent=CONFIG)
    assert (counts.published, counts.unchanged) == (3, 1)
    assert len(all_runs(client)) == 4


def test_large_files_are_named_instead_of_copied(results, client, monkeypatch):
    path = write(results, "saml", "x")
    (path.parent / "hypotheses.jsonl").write_bytes(b" " * 20_000)
    monkeypatch.setattr("saml.tracking.group.LARGE", 10_000)
    publish(results, parent=CONFIG)
    run = all_runs(client)[-1]
    assert run.data.tags["not_copied"] == "hypotheses.jsonl"
    assert artefacts(results, run) == {"run.jsonl"}


def test_the_config_of_another_experiment_is_not_used(results, client):
    publish(results, parent={**CONFIG, "experiment": "other"})
    (pipeline,) = all_runs(client, "pipeline")
    assert pipeline.data.params == {} and pipeline.data.tags["experiment"] == "tiny"


def test_a_deleted_experiment_is_restored(results, client):
    publish(results, parent=CONFIG)
    client.delete_experiment(client.get_experiment_by_name("synthetic: conformer").experiment_id)
    write(results, "saml", "z")
    assert publish(results, parent=CONFIG).problems == []
    assert len(all_runs(client)) == 5


def test_an_unreachable_server_is_an_error_with_a_remedy(results, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SamlError, match=r"does not answer .* are safe, publish them later with: saml track"):
        publish(results, store="http://127.0.0.1:9")


def test_a_file_that_is_not_a_store_is_named(results):
    (results / "broken.db").write_text("this is no database" * 100)
    with pytest.raises(SamlError, match=r"broken\.db"):
        publish(results, store=f"sqlite:///{results}/broken.db")


def test_following_publishes_new_records_and_stops_at_the_file(results, client, tmp_path):
    finished = tmp_path / "finished"

    def work():
        time.sleep(1.0)
        write(results, "saml", "z")
        finished.touch()

    worker = threading.Thread(target=work)
    worker.start()
    counts = publish(results, parent=CONFIG, follow=True, every=0.3, until=finished)
    worker.join()
    assert counts.published == 5
    assert len(all_runs(client)) == 5


def test_following_may_start_on_an_empty_folder(tmp_path, empty_store, monkeypatch):
    """Whether a folder is that of one experiment is known only once it has content."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = tmp_path / "results"
    (results / "mlflow").mkdir(parents=True)
    (results / "tiny").mkdir()
    shutil.copy(empty_store, results / "mlflow" / "mlflow.db")
    publisher = Publisher(results / "tiny", None, CONFIG)
    publisher.publish_new()
    write(results, "saml", "x")
    publisher.publish_new()
    assert publisher.counts.published == 1
    again = publish(results, parent=CONFIG)
    assert (again.published, again.replaced, again.unchanged) == (0, 0, 1)
    assert again.store == publisher.counts.store
    assert sorted(path.name for path in (results / "tiny").iterdir()) == ["speakers"]


def test_a_follower_does_not_use_the_store_without_new_records(results, monkeypatch):
    publisher = Publisher(results, None, CONFIG)
    publisher.publish_new()
    monkeypatch.setattr("saml.tracking.publish.Store", None)
    publisher.publish_new()
    assert publisher.counts.published == 4


def test_no_results_is_an_error(tmp_path):
    with pytest.raises(SamlError, match="no such folder"):
        publish(tmp_path / "nowhere")
