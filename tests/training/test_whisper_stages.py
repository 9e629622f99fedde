"""The stages with a Whisper: trained here, or taken over from a checkpoint. They are the same stages."""

import json
from pathlib import Path
from typing import Any

import pytest

from saml.models.store import load_model
from saml.stages.import_base import import_base
from saml.tracking import read_record
from tests.conftest import TINY_WHISPER
from tests.models.conftest import save_checkpoint, section
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pools of speech for a Whisper; the settings of the stages are its own."""
    monkeypatch.setitem(run.SETTINGS, "model", {"family": "whisper", "whisper": TINY_WHISPER})
    for name, speakers, parts in (
        ("base", ["a", "b"], ["train"] * 4 + ["dev"]),
        ("pretrain", ["d", "e"], ["train"] * 5 + ["dev"]),
        ("heldout", ["g"], ["test"]),
        ("target", ["t"], ["train"] * 4 + ["dev"] * 2 + ["test"] * 2),
    ):
        run.write_pool(tmp_path / name, speakers, parts, padded=140)
    ids = [f"t-{index}" for index in range(8)]
    fold = {"train": ids[:4], "dev": ids[4:6], "test": ids[6:]}
    (tmp_path / "splits.json").write_text(json.dumps({"folds": [fold]}))
    return tmp_path


def test_a_base_trained_here(folder: Path) -> None:
    """With CTC, stretched time and closing epochs; the loss falls, and the same bytes come out again."""
    for name in ("base", "again"):
        run.train_base(folder, name)
    assert (folder / "base.safetensors").read_bytes() == (folder / "again.safetensors").read_bytes()
    recogniser, content = load_model(folder / "base.safetensors", folder / "base.json")
    assert content["family"] == "whisper" and recogniser.has_ctc
    losses = [point.value for point in read_record(folder / "base.run.jsonl").points]
    assert losses[-1] < losses[0]


def test_from_a_checkpoint_to_counted_hypotheses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pretraining", "adaptation"):
        monkeypatch.setitem(run.SETTINGS, name, {**run.SETTINGS[name], "ctc_weight": 0.0})
    import_base(
        experiment="test",
        settings={"model": section(save_checkpoint(folder / "checkpoint"))},
        out_weights=folder / "base.safetensors",
        out_description=folder / "base.json",
        record=folder / "base.run.jsonl",
    )
    run.quantise(folder)
    run.mixture(folder, "initialise_experts", "experts", SAML_ARM)
    start = {"experts": folder / "experts.safetensors", "experts_description": folder / "experts.json"}
    run.mixture(folder, "pretrain", "saml", SAML_ARM, **start)
    run.adapt(folder, "adapted", SAML_ARM, "saml")
    chosen: dict[str, Any] = run.settings("decoding", "scoring", arm=SAML_ARM)
    run.decode_one(
        experiment="test",
        settings=chosen,
        arm="saml",
        seed=1,
        speaker="t",
        weights=folder / "nf4.safetensors",
        description=folder / "nf4.json",
        cuts=folder / "target/cuts.jsonl.gz",
        splits=folder / "splits.json",
        heldout_cuts=folder / "heldout/cuts.jsonl.gz",
        adapter=folder / "adapted.safetensors",
        adapter_description=folder / "adapted.json",
        adaptation_record=folder / "adapted.run.jsonl",
        hypotheses=folder / "hypotheses.jsonl",
        record=folder / "run.jsonl",
    )
    lines = [json.loads(line) for line in (folder / "hypotheses.jsonl").read_text().splitlines()]
    assert [line["utterance"] for line in lines] == ["g-0", "t-6", "t-7"]
    record = read_record(folder / "run.jsonl")
    assert record.family == "whisper" and "wer/released" in record.scores
    dev = [point.value for point in record.points if point.name == "dev/loss"]
    assert len(dev) == 3 and record.scores["dev/loss"] == pytest.approx(min(dev), rel=1e-5)
    before, after = (folder / f"{name}.safetensors" for name in ("base", "nf4"))
    assert read_record(folder / "nf4.run.jsonl").scores["ratio"] == pytest.approx(
        before.stat().st_size / after.stat().st_size
    )
