"""Losses of trials on unseen utterances, against the same computed one utterance at a time."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from saml.adapters import AdaptedRecogniser
from saml.adapters.store import load_adapter, save_adapter
from saml.cli import main as cli
from saml.corpora.manifests import read_cuts
from saml.models.store import load_model
from saml.tracking import Record, read_record
from saml.training.data import Examples
from saml.training.losses import utterance_losses
from saml.tuning.trial import write_diverged
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM

INPUT_ARM = {**SAML_ARM, "pretrained": False, "decoder_routing": "input"}
TESTED = {0: ["t-6", "t-7"], 1: ["t-2", "t-3"]}  # of the folds in cv.json


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """An experiment's folder with the speech of two tuning speakers: other speech, under the same names."""
    speech = tmp_path / "data/speakers"
    (speech / "t").mkdir(parents=True)
    shutil.copy(made / "target/cuts.jsonl.gz", speech / "t/cuts.jsonl.gz")
    run.write_pool(speech / "u%20u", ["t", "nobody"], ["train"] * 4 + ["dev"] * 2 + ["test"] * 2)
    for name in ("t", "u%20u"):
        shutil.copy(made / "cv.json", speech / name / "splits.json")
    return tmp_path


def adapt(made: Path, results: Path, speaker: str, arm: dict[str, Any] = SAML_ARM, **changes: Any) -> Path:
    """The adaptation on trial of a speaker, in the folder that it belongs in."""
    folder = results / "tuning/saml/adaptation/lr0.01" / speaker / "seed1"
    folder.mkdir(parents=True)
    outputs = {"out_adapter": folder / "adapter.safetensors", "out_description": folder / "adapter.json"}
    outputs["record"] = folder / "run.jsonl"
    speech = results / "data/speakers" / speaker
    inputs = {"cuts": speech / "cuts.jsonl.gz", "splits": speech / "splits.json"}
    run.adapt(made, "saml", arm, "saml", **inputs, **outputs, **changes)
    return folder


def command(made: Path, results: Path, kind: str) -> list[str]:
    """The command line."""
    files = {
        "--results": results,
        "--record": results / "judged.jsonl",
        "--weights": made / "nf4.safetensors",
        "--description": made / "nf4.json",
    }
    settings = {"tuning": {"speakers": ["t", "u u"]}, kind: {"ctc_weight": 0.3}}
    words = ["judge-rate", "--experiment", "test", "--arm", "saml", "--seed", "1", "--kind", kind]
    words += ["--rate", "0.01", "--settings", json.dumps(settings)]
    return words + [word for name, path in files.items() for word in (name, str(path))]


def judge(made: Path, results: Path, kind: str) -> Record:
    """What the command finds."""
    assert cli.main(command(made, results, kind)) == 0
    return read_record(results / "judged.jsonl")


def alone(
    made: Path, results: Path, speaker: str, adapter: Path, index: int, utterances: list[str]
) -> list[tuple[float, int, int]]:
    """Loss, tokens right and tokens of each utterance by itself, with one state of the adapter."""
    base, content = load_model(made / "nf4.safetensors", made / "nf4.json")
    stored = load_adapter(adapter / "adapter.safetensors", adapter / "adapter.json", content)
    adapted = AdaptedRecogniser(base, stored.spec, seed=0)
    adapted.load_state(stored.folds[index])
    adapted.eval()
    by_id = {cut.id: cut for cut in read_cuts(results / f"data/speakers/{speaker}/cuts.jsonl.gz")}
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


def stir(made: Path, folder: Path) -> None:
    """Large random numbers in every tensor of an adapter."""
    base = load_model(made / "nf4.safetensors", made / "nf4.json")[1]
    files = folder / "adapter.safetensors", folder / "adapter.json"
    stored = load_adapter(*files, base)
    chance = torch.Generator().manual_seed(1)
    states = [
        {name: torch.randn(tensor.shape, generator=chance) for name, tensor in state.items()}
        for state in stored.folds
    ]
    origin = {name: stored.description[name] for name in ("arm", "speaker", "seed", "trained_on", "settings")}
    save_adapter(*files, spec=stored.spec, folds=states, base=base, origin=origin)


def of_folds(
    made: Path, results: Path, speaker: str, tested: dict[int, list[str]]
) -> list[tuple[float, int, int]]:
    """The same of the utterances that each fold of an adaptation tests."""
    folder = results / "tuning/saml/adaptation/lr0.01" / speaker / "seed1"
    return [row for fold, some in tested.items() for row in alone(made, results, speaker, folder, fold, some)]


def test_an_adaptation_is_judged_by_the_test_parts_of_its_folds(made: Path, results: Path) -> None:
    for name in ("t", "u%20u"):
        adapt(made, results, name)
    record = judge(made, results, "adaptation")
    for name in ("t", "u%20u"):
        assert_scores(record, name, of_folds(made, results, name, TESTED))
    both = record.scores["t/loss"], record.scores["u%20u/loss"]
    assert both[0] != both[1] and record.scores["loss"] == pytest.approx(fmean(both))
    assert record.scores["diverged"] == 0
    how = record.settings
    assert (record.stage, record.arm, how["kind"], how["rate"]) == ("judge-rate", "saml", "adaptation", 0.01)


def test_a_single_division_has_one_state(made: Path, results: Path) -> None:
    for name in ("t", "u%20u"):
        shutil.copy(made / "splits.json", results / "data/speakers" / name / "splits.json")
        adapt(made, results, name)
    record = judge(made, results, "adaptation")
    assert_scores(record, "t", of_folds(made, results, "t", {0: TESTED[0]}))


def test_a_pre_training_is_judged_by_all_that_tuning_speakers_say(made: Path, results: Path) -> None:
    folder = results / "tuning/saml/pretraining/lr0.01/seed1"
    folder.mkdir(parents=True)
    for kind in ("safetensors", "json"):
        shutil.copy(made / f"saml.{kind}", folder / f"adapter.{kind}")
    for name in ("t", "u%20u"):  # of one division, so that its test part counts too
        shutil.copy(made / "splits.json", results / "data/speakers" / name / "splits.json")
    record = judge(made, results, "pretraining")
    for name in ("t", "u%20u"):
        each = alone(made, results, name, folder, 0, [f"t-{index}" for index in range(8)])
        assert_scores(record, name, each)


def test_routers_that_look_at_padding_look_at_their_own_alone(made: Path, results: Path) -> None:
    """In batches, but what such a router finds may not depend on who else is in them."""
    for name in ("t", "u%20u"):
        folder = adapt(made, results, name, INPUT_ARM, adapter=None, adapter_description=None)
        stir(made, folder)  # so far experts add next to nothing, whatever their weights
    record = judge(made, results, "adaptation")
    assert_scores(record, "t", of_folds(made, results, "t", TESTED))


def lost(results: Path, speaker: str) -> None:
    """What an adaptation that diverged leaves."""
    folder = results / "tuning/saml/adaptation/lr0.01" / speaker / "seed1"
    folder.mkdir(parents=True)
    write_diverged(folder / "adapter.safetensors", folder / "adapter.json")


def test_who_diverged_is_noted_and_the_others_are_judged(made: Path, results: Path) -> None:
    adapt(made, results, "t")
    lost(results, "u%20u")
    scores = judge(made, results, "adaptation").scores
    assert scores["u%20u/diverged"] == scores["diverged"] == 1
    assert scores["t/loss"] > 0 and not {"t/diverged", "u%20u/loss", "loss"} & set(scores)


def test_where_everybody_diverged_that_is_all_there_is(made: Path, results: Path) -> None:
    lost(results, "t")
    lost(results, "u%20u")
    assert judge(made, results, "adaptation").scores == {
        "t/diverged": 1,
        "u%20u/diverged": 1,
        "diverged": 2,
    }


def test_a_loss_that_is_no_number_counts_as_diverged(
    made: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import saml.tuning.judge_rate as module

    def infinite(*inputs: Any, **options: Any) -> Any:
        each = utterance_losses(*inputs, **options)
        return replace(each, loss=each.loss.log() * math.inf)

    adapt(made, results, "t")
    lost(results, "u%20u")
    monkeypatch.setattr(module, "utterance_losses", infinite)
    assert judge(made, results, "adaptation").scores["t/diverged"] == 1


def test_what_is_wrong_is_said(made: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapt(made, results, "t")
    assert cli.main(command(made, results, "adaptation")) == 1
    assert "u%20u/seed1/adapter.safetensors: no such file" in capsys.readouterr().err
    assert cli.main(command(made, results, "adaption")) == 1
    assert "--kind adaption: no such trials; use pretraining or adaptation" in capsys.readouterr().err
