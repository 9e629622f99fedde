"""What trials lose on unheard sentences, beside the same computed one utterance at a time."""

import json
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from saml import cli
from saml.adapters import AdaptedRecogniser
from saml.adapters.store import load_adapter
from saml.models.store import load_model
from saml.tracking import Record, read_record
from saml.training.common import read_cuts
from saml.training.examples import Examples
from saml.training.losses import utterance_losses
from saml.tuning.trial import lose
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM

INPUT_ARM = {**SAML_ARM, "pretrained": False, "decoder_routing": "input"}
TESTED = {0: ["t-6", "t-7"], 1: ["t-2", "t-3"]}  # of the folds in cv.json


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """An experiment's folder with the speech of two tuning speakers, who say the same."""
    for name in ("t", "u%20u"):
        speech = tmp_path / "data/speakers" / name
        speech.mkdir(parents=True)
        shutil.copy(made / "target/cuts.jsonl.gz", speech / "cuts.jsonl.gz")
        shutil.copy(made / "cv.json", speech / "splits.json")
    return tmp_path


def adapt(made: Path, results: Path, speaker: str, arm: dict[str, Any] = SAML_ARM, **changes: Any) -> Path:
    """The adaptation on trial of a speaker, in the folder that it belongs in."""
    folder = results / "tuning/saml/adaptation/lr0.01" / speaker / "seed1"
    folder.mkdir(parents=True)
    outputs = {"out_adapter": folder / "adapter.safetensors", "out_description": folder / "adapter.json"}
    outputs["record"] = folder / "run.jsonl"
    run.adapt(made, "saml", arm, "saml", splits=made / "cv.json", **outputs, **changes)
    return folder


def judge(made: Path, results: Path, kind: str) -> Record:
    """What the command finds."""
    record = results / "judged.jsonl"
    command = ["judge-rate", "--experiment", "test", "--arm", "saml", "--seed", "1", "--kind", kind]
    command += ["--rate", "0.01", "--results", str(results), "--record", str(record)]
    command += ["--weights", str(made / "nf4.safetensors"), "--description", str(made / "nf4.json")]
    settings = {"judging": {"speakers": ["t", "u u"], "ctc_weight": 0.3}}
    assert cli.main([*command, "--settings", json.dumps(settings)]) == 0
    return read_record(record)


def alone(made: Path, adapter: Path, index: int, utterances: list[str]) -> list[tuple[float, int, int]]:
    """Loss, tokens right and tokens of each utterance by itself, with one state of the adapter."""
    base, content = load_model(made / "nf4.safetensors", made / "nf4.json")
    stored = load_adapter(adapter / "adapter.safetensors", adapter / "adapter.json", content)
    adapted = AdaptedRecogniser(base, stored.spec, seed=0)
    adapted.load_state(stored.folds[index])
    adapted.eval()
    by_id = {cut.id: cut for cut in read_cuts(made / "target/cuts.jsonl.gz")}
    examples = Examples(by_id.values(), base)
    found = []
    for utterance in utterances:
        with torch.no_grad():
            each = utterance_losses(adapted, examples.batch([by_id[utterance]]), ctc_weight=0.3)
        found.append((float(each.loss[0]), int(each.correct[0]), int(each.tokens[0])))
    return found


def assert_scores(record: Record, name: str, each: list[tuple[float, int, int]]) -> None:
    assert record.scores[f"{name}/loss"] == pytest.approx(fmean(loss for loss, _, _ in each), rel=1e-5)
    right, tokens = sum(correct for _, correct, _ in each), sum(count for _, _, count in each)
    assert record.scores[f"{name}/accuracy"] == pytest.approx(right / tokens)


def test_an_adaptation_is_judged_by_the_test_parts_of_its_folds(made: Path, results: Path) -> None:
    folders = {"t": adapt(made, results, "t"), "u%20u": adapt(made, results, "u%20u", seed=2)}
    record = judge(made, results, "adaptation")
    for name, folder in folders.items():
        each = [row for fold, tested in TESTED.items() for row in alone(made, folder, fold, tested)]
        assert_scores(record, name, each)
    assert record.scores["t/loss"] != record.scores["u%20u/loss"]
    assert (record.stage, record.arm, record.settings["rate"]) == ("judge-rate", "saml", "0.01")


def test_a_pre_training_is_judged_by_all_that_tuning_speakers_say(made: Path, results: Path) -> None:
    folder = results / "tuning/saml/pretraining/lr0.01/seed1"
    folder.mkdir(parents=True)
    for kind in ("safetensors", "json"):
        shutil.copy(made / f"saml.{kind}", folder / f"adapter.{kind}")
    record = judge(made, results, "pretraining")
    each = alone(made, folder, 0, [f"t-{index}" for index in range(8)])
    for name in ("t", "u%20u"):
        assert_scores(record, name, each)


def test_routers_that_look_at_padding_are_judged_without(
    made: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What such a router finds depends on padding: each utterance is judged by itself."""
    import saml.tuning.judging as module

    sizes = run.batch_sizes(monkeypatch, module)
    for name in ("t", "u%20u"):
        adapt(made, results, name, INPUT_ARM, adapter=None, adapter_description=None)
    record = judge(made, results, "adaptation")
    assert set(sizes) == {1}
    folder = results / "tuning/saml/adaptation/lr0.01/t/seed1"
    each = [row for fold, tested in TESTED.items() for row in alone(made, folder, fold, tested)]
    assert_scores(record, "t", each)


def test_who_diverged_is_noted_and_the_others_are_judged(made: Path, results: Path) -> None:
    adapt(made, results, "t")
    lost = results / "tuning/saml/adaptation/lr0.01/u%20u/seed1"
    lost.mkdir(parents=True)
    lose(lost / "adapter.safetensors", lost / "adapter.json")
    scores = judge(made, results, "adaptation").scores
    assert scores["u%20u/diverged"] == 1 and "u%20u/loss" not in scores
    assert scores["t/loss"] > 0 and "t/diverged" not in scores
