"""A record in MLflow's terms, without MLflow."""

from pathlib import Path

import pytest

from saml.tracking import RunRecord, runs


def found(root, place="speakers/x/saml/seed1", **more):
    made = RunRecord(**{"stage": "decode", "experiment": "tiny", **more})
    made.write(root / place / "run.jsonl")
    return runs.load(root / place / "run.jsonl", root)


@pytest.mark.parametrize(
    ("place", "more", "name"),
    [
        ("speakers/x/saml/seed1", {"arm": "saml", "speaker": "x", "seed": 1}, "saml x seed1"),
        ("heldout/nf4/seed0", {"arm": "nf4", "seed": 0}, "nf4 heldout seed0"),
        ("pretrained/saml/seed1", {"stage": "pretrain", "arm": "saml", "seed": 1}, "pretrain saml seed1"),
        ("data/pools/base", {"stage": "prepare-pool"}, "prepare-pool base"),
        ("data/speakers/x", {"stage": "prepare-speaker", "speaker": "x"}, "prepare-speaker x"),
        ("models/nf4", {"stage": "quantise"}, "quantise nf4"),
        ("figures", {"stage": "figures"}, "RESULTS tables and figures"),
        ("enrolment", {"stage": "enrolment"}, "RESULTS enrolment curve"),
        (
            "enrolment/3/speakers/x/saml/seed1",
            {"arm": "saml", "speaker": "x", "seed": 1},
            "enrolment 3: saml x seed1",
        ),
        (
            "pruned/collapsed/speakers/x/saml/seed1",
            {"arm": "saml", "speaker": "x", "seed": 1},
            "pruned collapsed: saml x seed1",
        ),
        (
            "tuning/saml/adaptation/lr0.003/x/seed1",
            {"stage": "adapt", "arm": "saml", "speaker": "x", "seed": 1},
            "tuning adapt saml x lr0.003 seed1",
        ),
        (
            "tuning/saml/judged-adaptation/lr0.003/seed1",
            {"stage": "judge-rate", "arm": "saml", "seed": 1},
            "tuning judged adaptation saml lr0.003 seed1",
        ),
        (
            "tuning/lr/pretrained/seed1",
            {"stage": "choose-start", "arm": "lr", "seed": 1},
            "choose-start lr seed1",
        ),
    ],
)
def test_names(tmp_path, place, more, name):
    assert runs.run_name(found(tmp_path, place, **more)) == name


def test_the_key_tells_runs_apart_and_nothing_else(tmp_path):
    base = {"arm": "saml", "speaker": "x", "seed": 1, "settings": {"a": 1, "b": 2}}
    key = found(tmp_path, **base).key
    assert found(tmp_path, **base | {"settings": {"b": 2, "a": 1}}).key == key
    for change in ({"arm": "pqm"}, {"speaker": "y"}, {"seed": 2}, {"settings": {"a": 2}}, {"stage": "adapt"}):
        assert found(tmp_path, **base | change).key != key
    # The pools have the same settings; only their folders differ.
    assert found(tmp_path, "data/pools/base").key != found(tmp_path, "data/pools/heldout").key


def test_runs_of_another_enrolment_are_told_from_the_experiments_own(tmp_path):
    """A view of decodings must not average them with the experiment's own."""
    who = {"arm": "saml", "speaker": "x", "seed": 1}
    own, other = (found(tmp_path, f"{where}speakers/x/saml/seed1", **who) for where in ("", "enrolment/3/"))
    assert runs.tags(own)["stage"] == "decode" and "enrolment" not in runs.tags(own)
    assert runs.tags(other)["stage"] == "enrolment" and runs.tags(other)["enrolment"] == "3"
    assert own.key != other.key


def test_runs_of_smaller_adapters_are_told_from_the_experiments_own(tmp_path):
    who = {"arm": "saml", "speaker": "x", "seed": 1}
    own, other = (found(tmp_path, f"{where}speakers/x/saml/seed1", **who) for where in ("", "pruned/3/"))
    assert "kept" not in runs.tags(own)
    assert (runs.tags(other)["stage"], runs.tags(other)["kept"]) == ("pruning", "3")
    assert own.key != other.key


def test_trials_of_learning_rates_are_told_from_the_experiments_own_trainings(tmp_path):
    """By what saved views filter by, and by their keys, though stage, arm, seed and settings are the same."""
    who = {"stage": "pretrain", "arm": "saml", "seed": 1}
    own = found(tmp_path, "pretrained/saml/seed1", **who)
    trial = found(tmp_path, "tuning/saml/pretraining/lr0.003/seed1", **who)
    assert runs.tags(own)["stage"] == "pretrain" and "trial" not in runs.tags(own)
    assert runs.tags(trial)["stage"] == "tuning" and runs.tags(trial)["trial"] == "pretrain lr0.003"
    judged = found(
        tmp_path, "tuning/saml/judged-pretraining/lr0.003/seed1", stage="judge-rate", arm="saml", seed=1
    )
    assert runs.tags(judged)["trial"] == "judged pretraining lr0.003"
    assert own.key != trial.key


def test_settings_become_flat_parameters():
    settings = {"arm": {"experts": 6, "routed": True}, "lists": [1, 2], "none": None, "empty": {}, "a/ü": "x"}
    assert runs.parameters(settings) == {
        "arm.experts": "6",
        "arm.routed": "true",
        "lists": "[1, 2]",
        "none": "null",
        "empty": "{}",
        "a/_": "x",
    }
    assert len(runs.parameters({"long": "x" * 10_000})["long"]) == 6000


def test_a_score_does_not_join_the_curve_of_its_name(tmp_path):
    made = RunRecord(stage="adapt", experiment="tiny")
    made.curve("dev/loss", 3, 1.0)
    made.score("dev/loss", 0.5)
    made.size("adapter", 10)
    made.write(tmp_path / "run.jsonl")
    names = [metric.name for metric in runs.metrics(made.record)]
    assert names == ["dev/loss", "final/dev/loss", "bytes/adapter", "seconds/adapt"]


def test_only_files_below_the_results_are_published(tmp_path):
    results = tmp_path / "results"
    folder = results / "tiny" / "tables"
    made = RunRecord(stage="tabulate", experiment="tiny")
    for path in (folder / "wer.csv", results / "tiny" / "figures" / "wer.svg", folder / "parts" / "a.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        made.file(path)
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    for path in (folder / "gone.csv", tmp_path / "secret", folder / "link"):
        made.file(path)
    made.write(folder / "run.jsonl")
    files, complaints = runs.artefacts(runs.load(folder / "run.jsonl", results / "tiny"), results)
    assert [(path.name, where) for path, where in files] == [
        ("run.jsonl", ""),
        ("wer.csv", ""),
        ("wer.svg", "figures"),
        ("a.csv", "parts"),
    ]
    assert ["missing" in line for line in complaints] == [True, False, False]
    assert all("lies outside" in line for line in complaints[1:])


def test_records_are_found_where_stages_leave_them(tmp_path):
    for place in ("a/tables", "a/.work/job", "b/speakers/x/saml/seed1", "mlflow/artifacts/1", ".hidden/c"):
        path = tmp_path / place / "run.jsonl"
        path.parent.mkdir(parents=True)
        path.touch()
    assert [path.relative_to(tmp_path) for path, _ in runs.find_records(tmp_path)] == [
        Path("a/tables/run.jsonl"),
        Path("b/speakers/x/saml/seed1/run.jsonl"),
    ]
    assert [root for _, root in runs.find_records(tmp_path, "b")] == [tmp_path / "b"]
