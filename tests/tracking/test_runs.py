"""A record in MLflow's terms, without MLflow."""

from pathlib import Path

import pytest

from saml.tracking import Record, RunRecord, runs


def found(root, place="speakers/x/saml/seed1", **more):
    run = RunRecord(**{"stage": "decode", "experiment": "tiny", **more})
    run.write(root / place / "run.jsonl")
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


def test_the_key_depends_on_the_factors_only(tmp_path):
    base = {"arm": "saml", "speaker": "x", "seed": 1, "settings": {"a": 1, "b": 2}}
    key = found(tmp_path, **base).key
    assert found(tmp_path, **base | {"settings": {"b": 2, "a": 1}}).key == key
    for change in ({"arm": "pqm"}, {"speaker": "y"}, {"seed": 2}, {"settings": {"a": 2}}, {"stage": "adapt"}):
        assert found(tmp_path, **base | change).key != key
    # The pools have the same settings; only their folders differ.
    assert found(tmp_path, "data/pools/base").key != found(tmp_path, "data/pools/heldout").key


def test_runs_of_the_enrolment_curve_differ_from_the_experiments_own(tmp_path):
    """A view of decodings must not average them with the experiment's own."""
    factors = {"arm": "saml", "speaker": "x", "seed": 1}
    own, other = (
        found(tmp_path, f"{where}speakers/x/saml/seed1", **factors) for where in ("", "enrolment/3/")
    )
    assert runs.tags(own)["stage"] == "decode" and "enrolment" not in runs.tags(own)
    assert runs.tags(other)["stage"] == "enrolment" and runs.tags(other)["enrolment"] == "3"
    assert own.key != other.key


def test_runs_of_pruned_adapters_differ_from_the_experiments_own(tmp_path):
    factors = {"arm": "saml", "speaker": "x", "seed": 1}
    own, other = (found(tmp_path, f"{where}speakers/x/saml/seed1", **factors) for where in ("", "pruned/3/"))
    assert "kept" not in runs.tags(own)
    assert (runs.tags(other)["stage"], runs.tags(other)["kept"]) == ("pruning", "3")
    assert own.key != other.key


def test_trials_of_learning_rates_differ_from_the_experiments_own_trainings(tmp_path):
    """In the tags that saved views filter by, and in their keys; stage, arm, seed and settings are equal."""
    factors = {"stage": "pretrain", "arm": "saml", "seed": 1}
    own = found(tmp_path, "pretrained/saml/seed1", **factors)
    trial = found(tmp_path, "tuning/saml/pretraining/lr0.003/seed1", **factors)
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
    run = RunRecord(stage="adapt", experiment="tiny")
    run.curve("dev/loss", 3, 1.0)
    run.score("dev/loss", 0.5)
    run.size("adapter", 10)
    run.write(tmp_path / "run.jsonl")
    metrics = [(metric.name, metric.value, metric.step) for metric in runs.metrics(run.record)]
    assert metrics[:3] == [("dev/loss", 1.0, 3), ("final/dev/loss", 0.5, 0), ("bytes/adapter", 10.0, 0)]
    assert [name for name, *_ in metrics[3:]] == ["seconds/adapt"]


def test_a_run_lasts_as_long_as_all_its_stages() -> None:
    record = Record("decode", "tiny", finished=1000.0, durations={"adapt": 60.0, "decode": 30.0})
    assert runs.times(record) == (910_000, 1_000_000)


def test_only_files_below_the_results_are_published(tmp_path):
    results = tmp_path / "results"
    folder = results / "tiny" / "tables"
    run = RunRecord(stage="tabulate", experiment="tiny")
    for path in (folder / "wer.csv", results / "tiny" / "figures" / "wer.svg", folder / "parts" / "a.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        run.file(path)
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    for path in (folder / "gone.csv", tmp_path / "secret", folder / "link"):
        run.file(path)
    run.write(folder / "run.jsonl")
    files, warnings = runs.artefacts(runs.load(folder / "run.jsonl", results / "tiny"), results)
    assert [(path.name, where) for path, where in files] == [
        ("run.jsonl", ""),
        ("wer.csv", ""),
        ("wer.svg", "figures"),
        ("a.csv", "parts"),
    ]
    assert ["missing" in line for line in warnings] == [True, False, False]
    assert all("is outside" in line for line in warnings[1:])


def test_records_are_found_where_stages_write_them(tmp_path):
    for place in ("a/tables", "a/.work/job", "b/speakers/x/saml/seed1", "mlflow/artifacts/1", ".hidden/c"):
        path = tmp_path / place / "run.jsonl"
        path.parent.mkdir(parents=True)
        path.touch()
    assert [path.relative_to(tmp_path) for path, _ in runs.find_records(tmp_path)] == [
        Path("a/tables/run.jsonl"),
        Path("b/speakers/x/saml/seed1/run.jsonl"),
    ]
    assert [root for _, root in runs.find_records(tmp_path, "b")] == [tmp_path / "b"]
