"""Smaller adapters of an adapted speaker against routes that are summed up one utterance at a time."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import load_adapter
from saml.corpora.manifests import read_cuts
from saml.corpora.splits import enrolled
from saml.features.batching import collate
from saml.models.store import load_model
from saml.runtime.errors import SamlError
from saml.stages.prune import prune
from saml.tracking import read_record
from tests.training import conftest as run
from tests.training.conftest import PQM_ARM, SAML_ARM

HEARD = 3  # of the four training utterances of a fold


@pytest.fixture(scope="module")
def mixture(made: Path) -> Path:
    """The folder with `mixture.*`: two experts, adapted in two folds to three utterances each."""
    chosen = {**run.settings("adapters", "adaptation", arm=SAML_ARM), "partition": {"enrolment": HEARD}}
    run.adapt(made, "mixture", SAML_ARM, "saml", settings=chosen, splits=made / "cv.json")
    return made


def pruned(folder: Path, kept: int | None, name: str = "mixture", **changes: Any) -> dict[str, Tensor]:
    paths = {"weights": "nf4", "adapter": name, "out_adapter": "small"}
    prune(
        **{
            **{key: folder / f"{value}.safetensors" for key, value in paths.items()},
            "cuts": folder / "target" / "cuts.jsonl.gz",
            "splits": folder / "cv.json",
            "kept": kept,
            **changes,
        }
    )
    return load_file(folder / "small.safetensors")


def mean_routes(folder: Path, fold: int) -> dict[str, Tensor]:
    """By layer, of the utterances that the fold's adapter was trained on, each encoded alone."""
    base, content = load_model(folder / "nf4.safetensors", folder / "nf4.json")
    stored = load_adapter(folder / "mixture.safetensors", folder / "mixture.json", content)
    adapted = AdaptedRecogniser(base, stored.spec, seed=0)
    adapted.load_state(stored.folds[fold])
    heard = enrolled(json.loads((folder / "cv.json").read_text())["folds"][fold]["train"], HEARD, "t")
    cuts = [cut for cut in read_cuts(folder / "target" / "cuts.jsonl.gz") if cut.id in heard]
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for cut in cuts:
            adapted.encode(*collate([cut]))
            for layer, weights in adapted.routes().items():
                sums[layer] = sums.get(layer, torch.zeros(2)) + weights[0] / HEARD
    assert len(cuts) == HEARD
    return sums


def test_the_best_routed_expert_of_each_fold_stays(mixture: Path) -> None:
    whole, small = load_file(mixture / "mixture.safetensors"), pruned(mixture, 1)
    described = json.loads((mixture / "small.json").read_text())
    shares = []
    for fold in (0, 1):
        weights = torch.stack(list(mean_routes(mixture, fold).values())).mean(0)
        best = int(weights.argmax())
        shares.append(float(weights[best]))
        assert described["pruned"]["experts"][fold] == [best]
        attention = [n for n in small if n.startswith(f"fold{fold}/") and len(whole[n]) == 2]
        assert attention
        for name in attention:
            assert small[name].equal(whole[name][[best]])
    assert described["pruned"]["share"] == pytest.approx(sum(shares) / 2, abs=1e-5)
    assert described["spec"]["experts"] == 1 and not any("routers" in name for name in small)
    assert (described["arm"], described["speaker"], described["folds"]) == ("mixture", "t", 2)


def test_collapsed_it_is_the_sum_at_the_mean_route(mixture: Path) -> None:
    whole, small = load_file(mixture / "mixture.safetensors"), pruned(mixture, None)
    for fold in (0, 1):
        for layer, weights in mean_routes(mixture, fold).items():
            # By attention module; the decoder's routes are by kind.
            for name in (n for n in small if n.startswith(f"fold{fold}/{layer}.")):
                expected = (weights[:, None, None] * whole[name]).sum(0, keepdim=True)
                torch.testing.assert_close(small[name], expected, atol=1e-5, rtol=1e-4)
    assert any(n.startswith(f"fold0/{layer}.") for layer in mean_routes(mixture, 0) for n in small)


def test_what_it_saves_is_said(mixture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pruned(mixture, None)
    before, after = ((mixture / f"{name}.safetensors").stat().st_size / 1e6 for name in ("mixture", "small"))
    assert f"small.safetensors: {after:.2f} MB, of {before:.2f} in " in capsys.readouterr().err


def test_the_record_and_the_files_that_are_not_named(mixture: Path) -> None:
    pruned(mixture, 2, record=mixture / "small.run.jsonl", experiment="test", corpus="synthetic")
    found = read_record(mixture / "small.run.jsonl")
    assert (found.stage, found.arm, found.speaker, found.seed) == ("prune", "mixture", "t", 1)
    assert found.scores["pruned/share"] == pytest.approx(1.0)
    assert found.sizes["adapter"] == (mixture / "small.safetensors").stat().st_size
    # All experts kept: nothing has changed.
    whole, small = (load_file(mixture / f"{name}.safetensors") for name in ("mixture", "small"))
    assert whole.keys() == small.keys() and all(small[name].equal(whole[name]) for name in whole)


def test_what_cannot_be_made_smaller_is_named(mixture: Path) -> None:
    with pytest.raises(SamlError, match="has 2 experts; 1 to 2 of them can be kept"):
        pruned(mixture, 3)
    with pytest.raises(SamlError, match=r"mixture\.safetensors: was adapted to other train"):
        pruned(mixture, 1, splits=mixture / "splits.json")
    with pytest.raises(SamlError, match="has no speaker or no enrolment"):
        pruned(mixture, 1, "saml", splits=mixture / "splits.json")
    run.adapt(mixture, "plain", PQM_ARM, "pqm")
    with pytest.raises(SamlError, match="not a mixture of experts"):
        pruned(mixture, 1, "plain")


def test_a_decoder_that_is_routed_with_every_token_has_no_mean_route(mixture: Path) -> None:
    content = json.loads((mixture / "mixture.json").read_text())
    content["spec"]["decoder_routing"] = "input"
    (mixture / "by_input.json").write_text(json.dumps(content))
    with pytest.raises(SamlError, match="no mean route"):
        pruned(mixture, None, adapter_description=mixture / "by_input.json")
