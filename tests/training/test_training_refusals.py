"""Inputs that stages of training do not take: named, and nothing is written."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from saml.runtime.errors import SamlError
from tests.training import conftest as run
from tests.training.conftest import LORA_ARM, PQM_ARM, SAML_ARM


def test_an_adapter_for_another_base_is_refused(made: Path) -> None:
    with pytest.raises(SamlError, match="belongs to another base model"):
        run.adapt(
            made, "wrong", PQM_ARM, "pqm", weights=made / "base.safetensors", description=made / "base.json"
        )


def unchecked(storage_key: str) -> str:
    """A place in an archive as it was written before there were checksums."""
    return storage_key.rpartition(",")[0]


def test_a_loss_that_is_not_finite_names_the_utterance(made: Path, tmp_path: Path) -> None:
    broken = tmp_path / "target"
    shutil.copytree(made / "target", broken)
    manifest = run.CutSet.from_file(broken / "cuts.jsonl.gz").to_eager()
    cut = manifest["t-1"]
    values = torch.from_numpy(cut.features.load())
    offset = int(cut.features.storage_key.split(",")[0])
    with (broken / "features.bin").open("r+b") as file:
        file.seek(offset)
        file.write((values * float("nan")).numpy().tobytes())
    for each in manifest:
        each.features.storage_path = str(broken / "features.bin")
        each.features.storage_key = unchecked(each.features.storage_key)
    manifest.to_file(broken / "cuts.jsonl.gz")
    with pytest.raises(SamlError, match=r"loss of utterance t-1 is not finite in epoch 1"):
        run.adapt(made, "broken", LORA_ARM, None, cuts=broken / "cuts.jsonl.gz")


def test_a_checkpoint_of_other_speech_is_not_taken_up(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest is the same, the features behind it are not."""
    pool = tmp_path / "target"
    shutil.copytree(made / "target", pool)
    manifest = run.CutSet.from_file(pool / "cuts.jsonl.gz").to_eager()
    for cut in manifest:
        cut.features.storage_path = str(pool / "features.bin")
        cut.features.storage_key = unchecked(cut.features.storage_key)
    manifest.to_file(pool / "cuts.jsonl.gz")
    chosen: dict[str, Any] = {"cuts": pool / "cuts.jsonl.gz", "work": tmp_path / "work"}
    with run.interrupted_after_an_epoch(), pytest.raises(KeyboardInterrupt):
        run.adapt(made, "other", LORA_ARM, None, **chosen)
    data = bytearray((pool / "features.bin").read_bytes())
    data[3] ^= 0x80  # the sign of the first number
    (pool / "features.bin").write_bytes(data)
    capsys.readouterr()
    run.adapt(made, "other", LORA_ARM, None, **chosen)
    error = capsys.readouterr().err
    assert "checkpoint of other settings, inputs or processor ignored" in error and "done before" not in error


def test_adapters_made_with_other_settings_are_refused(made: Path) -> None:
    """Shapes would fit; scale and number of experts are compared by name."""
    chosen = copy.deepcopy(run.settings("adapters", "adaptation", "partition", arm=PQM_ARM))
    chosen["adapters"]["alpha"] = 400
    with pytest.raises(SamlError, match=r"pqm\.safetensors: made with other alpha than arm wrong has"):
        run.adapt(made, "wrong", PQM_ARM, "pqm", settings=chosen)
    three = run.settings("adapters", "pretraining", "initial_speakers", arm={**SAML_ARM, "experts": 3})
    start = {"experts": made / "experts.safetensors", "experts_description": made / "experts.json"}
    with pytest.raises(SamlError, match=r"experts\.safetensors: made with other experts"):
        run.mixture(made, "pretrain", "wrong", SAML_ARM, settings=three, **start)


SPLITS = {
    "no JSON": ("{", "not JSON"),
    "no test": ({"train": ["t-0"], "dev": ["t-1"]}, "not a file of folds"),
    "empty": ({"train": [], "dev": ["t-1"], "test": ["t-2"]}, "fold 0 has nothing in its train part"),
    "stranger": ({"train": ["x"], "dev": ["t-1"], "test": ["t-2"]}, "the speaker has no utterance 'x'"),
    "twice": (
        {"train": ["t-0", "t-0"], "dev": ["t-1"], "test": ["t-2"]},
        "utterance 't-0' is twice in train",
    ),
    "leak": ({"train": ["t-2"], "dev": ["t-1"], "test": ["t-2"]}, "utterance 't-2' is in train and test"),
}


@pytest.mark.parametrize("case", SPLITS)
def test_splits_that_a_user_replaced_are_checked(case: str, made: Path, tmp_path: Path) -> None:
    content, message = SPLITS[case]
    path = tmp_path / "splits.json"
    path.write_text(content if isinstance(content, str) else json.dumps({"folds": [content]}))
    with pytest.raises(SamlError, match=message):
        run.adapt(made, "wrong", LORA_ARM, None, splits=path)


def test_a_pool_without_a_part_is_named(made: Path, tmp_path: Path) -> None:
    pool = run.write_pool(tmp_path / "pool", ["d"], ["dev", "dev"])
    with pytest.raises(SamlError, match="no utterance of the pool is in its train part"):
        run.mixture(made, "pretrain", "wrong", PQM_ARM, cuts=pool)


def test_experts_that_are_not_finite_are_not_saved(made: Path) -> None:
    chosen = copy.deepcopy(run.settings("adapters", "pretraining", "initial_speakers", arm=SAML_ARM))
    chosen["pretraining"]["learning_rate"] = {"expert": 1e38, "router": 1e38, "initialisation": None}
    with pytest.raises(SamlError, match="not finite"):
        run.mixture(made, "initialise_experts", "huge", SAML_ARM, settings=chosen)
    assert not (made / "huge.safetensors").exists()
