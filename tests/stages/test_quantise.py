"""The stage that makes the NF4 model: what its settings change in the file that other stages read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes.functional as bnb
import pytest
import torch

from saml.models.nf4 import quantisable
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import full_state, load_model, save_model
from saml.runtime.errors import SamlError
from saml.stages.quantise import quantise


def quantised(recogniser: Recogniser, folder: Path, **how: Any) -> tuple[Recogniser, dict[str, Any]]:
    """The model that the stage makes of a recogniser with these settings, and its description."""
    save_model(recogniser, folder / "base.safetensors", folder / "base.json")
    quantise(
        experiment="test",
        settings={"quantisation": how},
        weights=folder / "base.safetensors",
        description=folder / "base.json",
        out_weights=folder / "nf4.safetensors",
        out_description=folder / "nf4.json",
        record=folder / "run.jsonl",
    )
    return load_model(folder / "nf4.safetensors", folder / "nf4.json")


@pytest.mark.parametrize("block_size", [64, 128])
@pytest.mark.parametrize("double", [False, True])
def test_the_model_is_quantised_as_the_settings_say(
    make_recogniser: Callable[[], Recogniser], tmp_path: Path, block_size: int, double: bool
) -> None:
    recogniser = make_recogniser()
    original = full_state(recogniser)
    how = {"block_size": block_size, "double": double}
    model, description = quantised(recogniser, tmp_path, **how)
    assert description["quantisation"] == how
    found = as_module(model).state_dict()
    for name in quantisable(recogniser):
        codes, state = bnb.quantize_4bit(
            original[name], blocksize=block_size, compress_statistics=double, quant_type="nf4"
        )
        assert torch.equal(found[name], bnb.dequantize_4bit(codes, state).reshape(found[name].shape)), name


def test_a_setting_that_is_missing_or_unknown_is_named(
    make_recogniser: Callable[[], Recogniser], tmp_path: Path
) -> None:
    with pytest.raises(SamlError, match=r"quantisation\.double"):
        quantised(make_recogniser(), tmp_path, block_size=64)
    with pytest.raises(SamlError, match=r"quantisation\.axis"):
        quantised(make_recogniser(), tmp_path, block_size=64, double=True, axis="rows")
    assert not (tmp_path / "nf4.safetensors").exists()
