"""A base model that transformers wrote: read as it is, or refused by name."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.store import load_model
from saml.runtime.errors import SamlError
from saml.stages.import_base import import_base
from saml.tracking import read_record
from tests.models.conftest import CHARACTERS, section

Write = Callable[..., Path]


def run(folder: Path, out: Path, model: dict[str, Any]) -> None:
    import_base(
        experiment="test",
        settings={"model": model},
        out_weights=out / "model.safetensors",
        out_description=out / "model.json",
        record=out / "run.jsonl",
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_imported_model_has_transformers_logits(
    write_checkpoint: Write, tmp_path: Path, dtype: torch.dtype
) -> None:
    """Through the stored file, in float32: rounding of positions is done again when they are computed."""
    from transformers import WhisperForConditionalGeneration

    folder = write_checkpoint(dtype)
    run(folder, tmp_path / "base", section(folder))
    recogniser, content = load_model(tmp_path / "base/model.safetensors", tmp_path / "base/model.json")
    theirs = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    features = torch.randn(2, 140, 80, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[5, 6, 3, 9, 2], [8, 4, 30, 2, -100]])  # which transformers shifts
    with torch.inference_mode():
        encoded = recogniser.encode(features, torch.tensor([140, 90]))
        logits = recogniser.logits(encoded, torch.tensor([[1, 5, 6, 3, 9], [1, 8, 4, 30, 2]]))
        expected = theirs(input_features=features.transpose(1, 2), labels=labels).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert content["settings"]["positions"] == str(dtype).removeprefix("torch.")
    assert recogniser.tokeniser.decode([1, 4, 3, 30, 2]) == "a '" and not recogniser.has_ctc
    stored = load_file(tmp_path / "base/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}


def test_the_record_says_what_was_taken_over(write_checkpoint: Write, tmp_path: Path) -> None:
    folder = write_checkpoint()
    run(folder, tmp_path / "base", section(folder))
    record = read_record(tmp_path / "base/run.jsonl")
    origin = record.settings["checkpoint"]
    assert origin["name"] == "tiny-checkpoint" and str(tmp_path) not in json.dumps(origin)
    data = (folder / "model.safetensors").read_bytes()
    assert origin["sha256"]["model.safetensors"] == hashlib.sha256(data).hexdigest()
    assert record.settings["model"]["whisper"]["decoder_feed_forward"] == 48
    assert set(origin["sha256"]) == {"config.json", "model.safetensors", "vocab.json"}
    assert record.sizes["model"] == (tmp_path / "base/model.safetensors").stat().st_size
    weights = load_file(folder / "model.safetensors")
    positions = weights.pop("model.encoder.embed_positions.weight").numel()
    weights.pop("proj_out.weight", None)
    assert positions == 70 * 32 and record.scores["parameters"] == sum(t.numel() for t in weights.values())
    assert str(tmp_path) not in (tmp_path / "base/model.json").read_text()


def test_the_folder_may_come_from_the_environment(
    write_checkpoint: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint()
    model = section("$SAML_WHISPER_CHECKPOINT")
    monkeypatch.setenv("SAML_WHISPER_CHECKPOINT", str(folder))
    assert open_checkpoint(model).path == folder
    monkeypatch.delenv("SAML_WHISPER_CHECKPOINT")
    with pytest.raises(SamlError, match=r"\$SAML_WHISPER_CHECKPOINT names .* not set; point it to a"):
        open_checkpoint(model)


def test_a_folder_that_is_none_or_lacks_a_file(write_checkpoint: Write, tmp_path: Path) -> None:
    with pytest.raises(SamlError, match=r"model\.whisper\.checkpoint: there is no folder .*nowhere"):
        open_checkpoint(section(tmp_path / "nowhere"))
    folder = write_checkpoint()
    for name in ("config.json", "vocab.json", "model.safetensors"):
        lacking = tmp_path / f"without-{name}"
        shutil.copytree(folder, lacking)
        (lacking / name).unlink()
        what = r"weights \(model\.safetensors, pytorch_model\.bin, .*\)" if "model" in name else name
        with pytest.raises(SamlError, match=rf"has no {what}; point it to a folder"):
            open_checkpoint(section(lacking))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"characters": "ab"}, r"model\.whisper\.characters: 'ab', but the checkpoint .* has . abc"),
        (
            {"features": {"bins": 80, "pad_seconds": 7.0, "tail_seconds": None}},
            r"pad_seconds: 7\.0, but the checkpoint .* wants 1\.4",
        ),
    ],
)
def test_a_config_that_does_not_fit(write_checkpoint: Write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SamlError, match=message):
        open_checkpoint(section(write_checkpoint(), **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "relu"}, "activation_function is 'relu', and only 'gelu' can be read"),
        ({"pad_token_id": 7}, "pad_token_id is 7, and only 0"),
        ({"decoder_attention_heads": 4}, "differ in their heads"),
        ({"vocab_size": 32}, r"vocab\.json has 31 tokens, not 32"),
    ],
)
def test_a_network_of_another_kind(write_checkpoint: Write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SamlError, match=message):
        open_checkpoint(section(write_checkpoint(**changes)))


@pytest.mark.parametrize(
    "vocabulary",
    [
        {"<pad>": 0, "<s>": 1, "</s>": 2, "ab": 3},
        {"<pad>": 0, "<s>": 1, "</s>": 2, "a": 4},
        {"a": 0, "b": 1, "c": 2, "d": 3},
        {"<pad>": 0, "<s>": 1, "</s>": 2, "A": 3},
    ],
)
def test_a_vocabulary_of_another_kind(write_checkpoint: Write, vocabulary: dict[str, int]) -> None:
    folder = write_checkpoint()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(
        SamlError, match=r"vocab\.json: (a vocabulary of 4 tokens that are not|characters of)"
    ):
        open_checkpoint(section(folder))


def test_damage_is_named(write_checkpoint: Write) -> None:
    folder = write_checkpoint(torch.float32)
    path = folder / "model.safetensors"
    whole = load_file(path)

    def refused(change: dict[str, torch.Tensor] | None, message: str) -> None:
        state = {**whole, **(change or {})}
        save_file({name: t for name, t in state.items() if t.numel()}, path, metadata={"format": "pt"})
        with pytest.raises(SamlError, match=message):
            read_recogniser(open_checkpoint(section(folder)))

    name = "model.encoder.conv1.bias"
    refused({name: torch.empty(0)}, f"tensor {name} is among the missing keys")
    refused({name: torch.zeros(5)}, rf"tensor .*{name}|cannot read these weights")
    refused({"more": torch.zeros(5)}, "tensor more is among the unexpected keys")
    refused({name: torch.full((32,), float("nan"))}, f"tensor {name} is not finite")
    positions = "model.encoder.embed_positions.weight"
    refused({positions: whole[positions] + 0.01}, "positions are not Whisper's sinusoids")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SamlError, match=r"model\.safetensors: truncated or damaged safetensors of 200 bytes"):
        read_recogniser(open_checkpoint(section(folder)))


def test_characters_in_their_own_order(write_checkpoint: Write) -> None:
    """The checkpoint's order decides the ids, not the config's."""
    assert open_checkpoint(section(write_checkpoint())).tokeniser.characters == CHARACTERS
