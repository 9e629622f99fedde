"""The stages on a tiny corpus: budgets, selection, interruption, what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from saml.config.settings import PretrainingSettings, typed
from saml.corpora.splits import enrolled
from saml.runtime.errors import SamlError
from saml.stages.initialise import utterance_shares
from saml.tracking import read_record
from saml.training import engine
from saml.training.engine import Step, Training
from tests.training import conftest as run
from tests.training.conftest import LORA_ARM, PQM_ARM, SAML_ARM

RATES_OF_ZERO = {"expert": 0.0, "router": 0.0, "initialisation": None}


def curve(path: Path, name: str) -> list[float]:
    return [point.value for point in read_record(path).points if point.name == name]


def test_budgets_are_equal_and_expert_initialisation_is_counted(made: Path) -> None:
    """22 utterances: half of them for SAML's experts, all of them for one LoRA."""
    shown = {
        name: read_record(made / f"{name}.run.jsonl").scores["utterances"]
        for name in ("experts", "saml", "pqm")
    }
    assert shown == {"experts": 11, "saml": 11, "pqm": 22}


def test_experts_have_moved_and_differ(made: Path) -> None:
    for name, tensor in load_file(made / "experts.safetensors").items():
        assert tensor.shape[0] == 2, name
        if name.endswith(".up"):
            assert tensor[0].abs().max() > 0 and not torch.equal(tensor[0], tensor[1]), name


def test_expert_initialisation_has_a_rate_of_its_own(made: Path) -> None:
    """A rate of zero there leaves every B at zero, whatever the rate of experts is."""
    chosen = run.settings("adapters", "pretraining", "initial_speakers", arm=SAML_ARM)
    rates = {**chosen["pretraining"]["learning_rate"], "initialisation": 0.0}
    chosen["pretraining"] = {**chosen["pretraining"], "learning_rate": rates, "decay": 0.9}
    run.mixture(made, "initialise_experts", "unmoved", SAML_ARM, settings=chosen)
    state = load_file(made / "unmoved.safetensors")
    assert not any(tensor.any() for name, tensor in state.items() if name.endswith(".up"))


def test_experts_initialised_in_parts_are_those_initialised_at_once(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout off, which draws part by part: what is computed at once decides nothing but rounding."""
    arm = {**SAML_ARM, "dropout": 0.0}
    sizes = run.batch_sizes(monkeypatch, engine)
    run.mixture(made, "initialise_experts", "whole", arm)
    at_once = list(sizes)
    sizes.clear()
    monkeypatch.setattr(engine, "seconds_at_once", lambda device: 1.0)
    run.mixture(made, "initialise_experts", "in-parts", arm)
    assert sum(sizes) == sum(at_once) == 11 and max(sizes) < max(at_once)
    whole, in_parts = load_file(made / "whole.safetensors"), load_file(made / "in-parts.safetensors")
    for name, tensor in whole.items():
        torch.testing.assert_close(in_parts[name], tensor, atol=1e-4, rtol=1e-4)


def test_saml_keeps_the_experts_and_starts_its_feed_forward_afresh(made: Path) -> None:
    """With learning rates of zero, pre-training shows what it started from."""
    arm, chosen = SAML_ARM, run.settings("adapters", "pretraining", "initial_speakers", arm=SAML_ARM)
    chosen["pretraining"] = {**chosen["pretraining"], "learning_rate": RATES_OF_ZERO}
    start = {"experts": made / "experts.safetensors", "experts_description": made / "experts.json"}
    run.mixture(made, "pretrain", "still", arm, settings=chosen, **start)
    still, experts = load_file(made / "still.safetensors"), load_file(made / "experts.safetensors")
    for name, tensor in still.items():
        if "attn" in name:
            assert torch.equal(tensor, experts[name])
        elif name.endswith(".up"):
            assert tensor.shape[0] == 1 and not tensor.any()


@pytest.mark.parametrize(("arm", "start"), [(LORA_ARM, None), (PQM_ARM, "pqm"), (SAML_ARM, "saml")])
def test_adaptation_keeps_its_best_epoch(made: Path, arm: dict[str, Any], start: str | None) -> None:
    run.adapt(made, "adapted", arm, start)
    losses = curve(made / "adapted.run.jsonl", "dev/loss")
    assert len(losses) == 1 + 2  # before the first epoch, and after each of two
    scores = read_record(made / "adapted.run.jsonl").scores
    assert scores["dev/loss"] == pytest.approx(min(losses), rel=1e-5)
    assert scores["dev/epoch"] == losses.index(min(losses))


def test_adapting_again_gives_the_same_bytes(made: Path) -> None:
    for name in ("once", "again"):
        run.adapt(made, name, SAML_ARM, "saml")
    assert (made / "once.safetensors").read_bytes() == (made / "again.safetensors").read_bytes()


def test_folds_are_adapters_of_their_own(made: Path) -> None:
    """The first of two folds is the single split of the other test: the same adapter comes out.

    But for rounding, and without dropout: both folds draw from the same random numbers.
    """
    arm = {**LORA_ARM, "dropout": 0.0}
    run.adapt(made, "single", arm, None)
    run.adapt(made, "folds", arm, None, splits=made / "cv.json")
    single, folds = load_file(made / "single.safetensors"), load_file(made / "folds.safetensors")
    assert {name.split("/")[0] for name in folds} == {"fold0", "fold1"}
    for name, tensor in single.items():
        torch.testing.assert_close(folds[f"fold0/{name}"], tensor, atol=1e-3, rtol=1e-3)
    assert any((folds[f"fold1/{name}"] - tensor).abs().max() > 0.01 for name, tensor in single.items())


def test_a_smaller_enrolment_is_a_smaller_train_part(made: Path, tmp_path: Path) -> None:
    """The same adapter as from splits that hold the chosen utterances only, and nothing else."""
    chosen = {**run.settings("adapters", "adaptation", arm=LORA_ARM), "partition": {"enrolment": 2}}
    run.adapt(made, "few", LORA_ARM, None, settings=chosen)
    content = json.loads((made / "splits.json").read_text())
    content["folds"][0]["train"] = enrolled(content["folds"][0]["train"], 2, "t")
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(content))
    run.adapt(made, "cut", LORA_ARM, None, splits=path)
    assert (made / "few.safetensors").read_bytes() == (made / "cut.safetensors").read_bytes()
    assert read_record(made / "few.run.jsonl").scores["train/utterances"] == 2


@pytest.mark.parametrize("stage", ["base", "averaged"])
def test_interrupted_and_resumed_gives_the_same_bytes(
    stage: str,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stopped after the first epoch's checkpoint; what is left of it goes when the job is done."""

    if stage == "averaged":
        more = {"epochs": 3, "average": 3, "schedule": "inverse_sqrt"}
        monkeypatch.setitem(run.SETTINGS, "base_training", {**run.SETTINGS["base_training"], **more})

    run.train_base(made, "whole", None)
    with run.interrupted_after_an_epoch(), pytest.raises(KeyboardInterrupt):
        run.train_base(made, "parts", tmp_path / "work")
    assert list((tmp_path / "work").rglob("checkpoint.pt"))
    capsys.readouterr()
    run.train_base(made, "parts", tmp_path / "work")
    assert "done before" in capsys.readouterr().err
    assert (made / "whole.safetensors").read_bytes() == (made / "parts.safetensors").read_bytes()
    assert curve(made / "whole.run.jsonl", "dev/loss") == curve(made / "parts.run.jsonl", "dev/loss")
    assert not (tmp_path / "work").exists()


def test_every_expert_sees_its_own_speaker_and_its_share(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """11 utterances for two experts: six and five, each in epochs over five utterances of one speaker."""
    seen: dict[int, list[str]] = {}
    step = Training.step

    def watched(self: Training, batches: Step) -> float:
        for progression, cuts in batches:
            seen.setdefault(progression.adapter, []).extend(cut.id for cut in cuts)
        return step(self, batches)

    monkeypatch.setattr(Training, "step", watched)
    run.mixture(made, "initialise_experts", "watched", SAML_ARM)
    assert [len(seen[expert]) for expert in (0, 1)] == [6, 5]
    for expert, speaker in enumerate(["d", "e"]):
        assert len(set(seen[expert][:5])) == 5
        assert {utterance.partition("-")[0] for utterance in seen[expert]} == {speaker}


def test_decoding_writes_hypotheses_with_counts(made: Path) -> None:
    run.adapt(made, "decoded", SAML_ARM, "saml", splits=made / "cv.json")
    chosen = run.settings("decoding", "scoring", arm=SAML_ARM)
    options: dict[str, Any] = {
        "experiment": "test",
        "settings": copy.deepcopy(chosen),
        "arm": "saml",
        "seed": 1,
        "speaker": "t",
        "weights": made / "nf4.safetensors",
        "description": made / "nf4.json",
        "cuts": made / "target/cuts.jsonl.gz",
        "splits": made / "cv.json",
        "heldout_cuts": made / "heldout/cuts.jsonl.gz",
        "adapter": made / "decoded.safetensors",
        "adapter_description": made / "decoded.json",
        "adaptation_record": made / "decoded.run.jsonl",
        "hypotheses": made / "hypotheses.jsonl",
        "record": made / "run.jsonl",
    }
    run.decode_one(**options)
    lines = [json.loads(line) for line in (made / "hypotheses.jsonl").read_text().splitlines()]
    assert [(line["part"], line["fold"], line["utterance"]) for line in lines] == [
        ("heldout", 0, "g-0"),
        ("heldout", 0, "g-1"),
        ("test", 0, "t-6"),
        ("test", 0, "t-7"),
        ("test", 1, "t-2"),
        ("test", 1, "t-3"),
    ]
    record = read_record(made / "run.jsonl")
    assert "wer/released" in record.scores and curve(made / "run.jsonl", "fold0/dev/loss")
    first = (made / "hypotheses.jsonl").read_bytes()
    run.decode_one(**options)
    assert (made / "hypotheses.jsonl").read_bytes() == first

    # Adapted to one split and tested on another, an adapter may have been trained on what it is tested on.
    others = {**options, "splits": made / "splits.json", "hypotheses": made / "others.jsonl"}
    with pytest.raises(
        SamlError, match=r"decoded\.safetensors: was adapted to other train and dev utterances"
    ):
        run.decode_one(**others)
    assert not (made / "others.jsonl").exists()
    # So it would with as many folds of other parts.
    folds = json.loads((made / "cv.json").read_text())["folds"]
    (made / "other.json").write_text(json.dumps({"folds": folds[::-1]}))
    with pytest.raises(
        SamlError, match=r"decoded\.safetensors: was adapted to other train and dev utterances"
    ):
        run.decode_one(**{**others, "splits": made / "other.json"})
    # A pre-trained adapter has been trained on no speech of the speaker.
    pretrained = {"adapter": made / "saml.safetensors", "adapter_description": made / "saml.json"}
    run.decode_one(**{**options, **pretrained, "hypotheses": made / "others.jsonl"})
    assert len((made / "others.jsonl").read_text().splitlines()) == len(lines)


def test_an_arm_may_have_another_budget_of_pre_training() -> None:
    section = {**run.SETTINGS["pretraining"], "utterances": 1000, "initialisation_share": 0.3}

    def shares(**own: Any) -> tuple[int, int]:
        arm = {"pretraining": own} if own else {}
        return utterance_shares(typed(PretrainingSettings, {"pretraining": section, "arm": arm}))

    assert shares() == (300, 700)
    assert shares(utterances=200) == (60, 140)
    assert shares(utterances=10, initialisation_share=0.25) == (2, 8)
