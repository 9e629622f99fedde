"""The mixtures beside the published one, through initialisation, pre-training, adaptation and decoding."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lhotse import CutSet
from safetensors.torch import load_file

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.compress import collapse
from saml.adapters.spec import AdapterSpec
from saml.models.store import load_model
from saml.runtime.errors import SamlError
from saml.stages.routes import mean_routes
from saml.tracking import read_record
from tests.training import conftest as run
from tests.training.conftest import SAML_ARM

TABLE = "routers.table.logits"
LONGER = {**SAML_ARM, "adaptation": {"epochs": 8, "interleaved": False}}  # so that each of them gets better
ARMS: dict[str, dict[str, Any]] = {
    "warm": {**LONGER, "experts_from": "lora"},
    "shared": {**LONGER, "experts_from": "lora", "shared": "lora"},
    "shared-a": {**LONGER, "experts_from": "lora", "shared": "down"},
    "table": {**LONGER, "routes_from": "table"},
    "clusters": {**LONGER, "experts_from": "clusters"},
    "collapsed": {**SAML_ARM, "adaptation": {"collapse": True}},
}


def pretrained(made: Path, name: str) -> Path:
    """The pre-trained adapter of an arm, made once."""
    path = made / f"{name}.safetensors"
    if not path.exists():
        run.mixture(made, "initialise_experts", f"{name}.experts", ARMS[name])
        experts = {
            "experts": made / f"{name}.experts.safetensors",
            "experts_description": made / f"{name}.experts.json",
        }
        run.mixture(made, "pretrain", name, ARMS[name], **experts)
    return path


@pytest.mark.parametrize("name", ARMS)
def test_every_mixture_is_pretrained_adapted_and_decoded(made: Path, name: str) -> None:
    start = load_file(pretrained(made, name))
    run.adapt(made, f"{name}.own", ARMS[name], name)
    own = load_file(made / f"{name}.own.safetensors")
    if name != "collapsed":  # which has another shape
        assert own.keys() == start.keys()
        assert any(not torch.equal(own[key], start[key]) for key in own)
    run.decode_one(
        experiment="test",
        settings=run.settings("decoding", "scoring", arm=ARMS[name]),
        arm=name,
        seed=1,
        speaker="t",
        weights=made / "nf4.safetensors",
        description=made / "nf4.json",
        cuts=made / "target/cuts.jsonl.gz",
        splits=made / "splits.json",
        adapter=made / f"{name}.own.safetensors",
        adapter_description=made / f"{name}.own.json",
        hypotheses=made / f"{name}.jsonl",
        record=made / f"{name}.decoded.jsonl",
    )
    assert len((made / f"{name}.jsonl").read_text().splitlines()) == 2


def test_one_lora_is_trained_on_everybody_and_kept_whole(made: Path) -> None:
    pretrained(made, "warm")
    content = json.loads((made / "warm.experts.json").read_text())
    assert content["initial_speakers"] == [["d", "e", "f"]]
    assert content["spec"]["experts"] == 1 and content["spec"]["feed_forward_experts"] == 1
    assert AdapterSpec(**content["spec"]).shared == "nothing"


def test_records_name_the_adapters_to_publish(made: Path) -> None:
    """Of expert initialisation and of pre-training; MLflow shows these files."""
    pretrained(made, "warm")
    for name in ("warm.experts", "warm"):
        record = read_record(made / f"{name}.run.jsonl")
        assert {path.name for path in record.files} == {f"{name}.safetensors", f"{name}.json"}


def test_experts_of_another_start_are_refused(made: Path) -> None:
    pretrained(made, "shared-a")
    with pytest.raises(SamlError, match="made with other "):
        run.mixture(
            made,
            "pretrain",
            "refused",
            {**ARMS["warm"], "rank": 2},
            experts=made / "shared-a.experts.safetensors",
            experts_description=made / "shared-a.experts.json",
        )


def test_a_target_speaker_has_a_row_of_the_table_that_starts_at_the_mean(made: Path) -> None:
    """Pre-training ends with one row; adaptation moves it."""
    start = load_file(pretrained(made, "table"))[TABLE]
    assert start.shape[0] == 1 and start.abs().max() > 0
    run.adapt(made, "row", ARMS["table"], "table")
    assert not torch.equal(load_file(made / "row.safetensors")[TABLE], start)


def test_collapsed_it_starts_at_the_mean_route_of_the_training_utterances(made: Path) -> None:
    """With a learning rate of almost nothing, the adapted LoRA is the collapsed mixture, computed again."""
    pretrained(made, "collapsed")
    chosen = run.settings("adapters", "adaptation", "partition", arm=ARMS["collapsed"])
    chosen["adaptation"] = {**chosen["adaptation"], "learning_rate": {"expert": 1e-12, "router": 1e-12}}
    run.adapt(made, "still", ARMS["collapsed"], "collapsed", settings=chosen)
    base, _ = load_model(made / "nf4.safetensors", made / "nf4.json")
    content = json.loads((made / "collapsed.json").read_text())
    mixture = AdaptedRecogniser(base, AdapterSpec(**content["spec"]), seed=1)
    mixture.load_state(load_file(made / "collapsed.safetensors"))
    cuts = {cut.id: cut for cut in CutSet.from_file(made / "target/cuts.jsonl.gz")}
    _, expected = collapse(mixture, mean_routes(mixture, [cuts[f"t-{index}"] for index in range(4)]))
    got = load_file(made / "still.safetensors")
    assert got.keys() == expected.keys() and not any("routers" in key for key in got)
    for key in got:
        torch.testing.assert_close(got[key], expected[key], atol=1e-6, rtol=1e-5)
    stored = json.loads((made / "still.json").read_text())
    assert stored["spec"]["experts"] == 1 and stored["spec"]["routed"] is False


def test_a_cluster_may_have_several_speakers(made: Path) -> None:
    pretrained(made, "clusters")
    groups = json.loads((made / "clusters.experts.json").read_text())["initial_speakers"]
    assert [len(group) for group in groups] == [2, 1] and sorted(sum(groups, [])) == ["d", "e", "f"]


def test_without_an_epoch_an_adapter_is_as_pretraining_left_it(made: Path) -> None:
    arm = {**run.PQM_ARM, "pretrained": "pqm", "adaptation": {"epochs": 0}}
    run.adapt(made, "others", arm, "pqm")
    start, own = (load_file(made / f"{name}.safetensors") for name in ("pqm", "others"))
    assert all(torch.equal(own[name], start[name]) for name in start)
