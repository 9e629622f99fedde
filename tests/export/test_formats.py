"""Each format as the program that it is for reads it, or as a reader of our own does."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from saml.compat.torchaudio import ensure
from saml.export import command
from saml.export.ggml import openai_name, write_ggml
from saml.export.merged import merge
from saml.export.source import open_source
from saml.models.checkpoints.openai import _name as transformers_name
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.recogniser import as_module
from saml.models.store import load_model
from saml.runtime.errors import SamlError
from tests.export.conftest import Adapter, adapted_by, speech
from tests.models.conftest import BPE, section

ensure()
from transformers import AutoProcessor, WhisperForConditionalGeneration  # noqa: E402

TOKENS = torch.tensor([[BPE + 1, BPE + 9, 5, 6, 7]])


def expected(results: Path, path: Path, model: str = "nf4") -> torch.Tensor:
    """Logits of the adapted model with the whole context."""
    made = adapted_by(results, path, model)
    made.use_whole_context(True)
    with torch.no_grad():
        return made.logits(made.encode(*speech()), TOKENS)


def theirs(network: Any) -> torch.Tensor:
    """Logits of a network of transformers."""
    with torch.no_grad():
        features = speech()[0].transpose(1, 2)
        return network(input_features=features, decoder_input_ids=TOKENS).logits


def exported(path: Path, to: str, out: Path, **options: Any) -> Path:
    command.export(adapter=path, to=to, out=out, **options)
    return out


def test_merged_weights_are_the_adapted_model(results: Path, adapter: Adapter) -> None:
    path = adapter()
    source = open_source(path)
    merge(source.base, source.spec, source.state)
    source.base.use_whole_context(True)
    with torch.no_grad():
        got = source.base.logits(source.base.encode(*speech()), TOKENS)
    torch.testing.assert_close(got, expected(results, path), atol=1e-4, rtol=1e-4)


def test_peft_reads_the_adapter(results: Path, adapter: Adapter, tmp_path: Path) -> None:
    from peft import PeftModel

    path = adapter()
    out = exported(path, "peft", tmp_path / "peft", base_model="openai/whisper-tiny.en")
    base, _ = load_model(results / "models/nf4/model.safetensors", results / "models/nf4/model.json")
    plain = theirs(base.network.eval())
    network = PeftModel.from_pretrained(base.network, out).eval()
    got = theirs(network.base_model.model)
    torch.testing.assert_close(got, expected(results, path), atol=1e-4, rtol=1e-4)
    assert (got - plain).abs().max() > 0.1
    said = json.loads((out / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == "openai/whisper-tiny.en"
    assert said["target_modules"] == ["fc1", "fc2", "k_proj", "out_proj", "q_proj", "v_proj"]


@pytest.mark.parametrize("into", ["nf4", "fp32"])
def test_transformers_reads_the_merged_model(
    results: Path, adapter: Adapter, tmp_path: Path, into: str
) -> None:
    path = adapter()
    out = exported(path, "transformers", tmp_path / into, into=into)
    network = WhisperForConditionalGeneration.from_pretrained(out).eval()
    model = {"nf4": "nf4", "fp32": "base"}[into]
    wanted = expected(results, path, "nf4") if into == "nf4" else None
    if wanted is None:  # the adapter belongs to NF4: merge it into full precision by hand
        base, _ = load_model(
            results / f"models/{model}/model.safetensors", results / f"models/{model}/model.json"
        )
        state = load_file(path)
        modules = dict(as_module(base).named_modules())
        with torch.no_grad():
            for name in {key.rpartition(".")[0] for key in state}:
                modules[name].weight += 2.0 * state[f"{name}.up"][0] @ state[f"{name}.down"][0]
            base.use_whole_context(True)
            wanted = base.logits(base.encode(*speech()), TOKENS)
    torch.testing.assert_close(theirs(network), wanted, atol=1e-4, rtol=1e-4)
    processor = AutoProcessor.from_pretrained(out)
    source = open_source(path)
    text = "It's the cat"
    ids = processor.tokenizer(f" {text}", add_special_tokens=False).input_ids
    assert ids == source.base.tokeniser.encode(text)
    said = network.generation_config
    assert (said.suppress_tokens, said.begin_suppress_tokens, said.is_multilingual) == ([3], [4], False)
    assert said.no_timestamps_token_id == BPE + 9 and said.decoder_start_token_id == BPE + 1


def test_what_transformers_reads_is_read_here_again(results: Path, adapter: Adapter, tmp_path: Path) -> None:
    path = adapter()
    out = exported(path, "transformers", tmp_path / "again")
    features = {"bins": 80, "pad_seconds": 30.0, "tail_seconds": 1.0}
    read = read_recogniser(
        open_checkpoint(section(out, characters=None, text_style="model", features=features))
    )
    source = open_source(path)
    merge(source.base, source.spec, source.state)
    ours = source.base.network.state_dict()
    for name, tensor in read.network.state_dict().items():
        torch.testing.assert_close(tensor, ours[name], atol=0, rtol=0)
    assert read.tokeniser.prompt == source.base.tokeniser.prompt
    assert read.tokeniser.never == source.base.tokeniser.never


@pytest.mark.parametrize("quantise", [None, "int8"])
def test_ctranslate2_runs_the_merged_model(
    results: Path, adapter: Adapter, tmp_path: Path, quantise: str | None
) -> None:
    """Greedy search finds the same tokens as transformers does; of rounded weights only that it runs."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    path = adapter()
    mine = tmp_path / "ct2" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("a file of mine")
    out = exported(path, "ctranslate2", tmp_path / "ct2", quantise=quantise)
    assert mine.read_text() == "a file of mine"
    assert exported(path, "ctranslate2", tmp_path / "ct2", quantise=quantise) == out  # over the first
    network = WhisperForConditionalGeneration.from_pretrained(exported(path, "transformers", tmp_path / "hf"))
    features = speech()[0].transpose(1, 2)
    model = ctranslate2.models.Whisper(str(out), device="cpu", compute_type="default")
    prompt = [[BPE + 1, BPE + 9]]
    view = ctranslate2.StorageView.from_array(np.ascontiguousarray(features.numpy()))
    (result,) = model.generate(view, prompt, beam_size=1, max_length=12)
    found = result.sequences_ids[0]
    assert len(found) > 4
    if quantise is None:
        inputs = torch.tensor(prompt)
        with torch.no_grad():
            tokens = network.generate(input_features=features, decoder_input_ids=inputs, max_new_tokens=10)
        assert found == [token for token in tokens[0].tolist() if token < BPE][: len(found)]


# ---- whisper.cpp's file, read as its own documentation describes it -------------------------------


class Reader:
    """Reads little-endian numbers and bytes one after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, count: int) -> tuple[int, ...]:
        self.at += 4 * count
        return struct.unpack(f"<{count}i", self.data[self.at - 4 * count : self.at])

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def read_ggml(path: Path) -> tuple[tuple[int, ...], Any, list[bytes], dict[str, tuple[int, Any]]]:
    """Sizes, mel filters, tokens, and by name the type of a tensor and its values (bytes if quantised)."""
    reader = Reader(path.read_bytes())
    magic, *sizes = reader.numbers(12)
    assert magic == 0x67676D6C
    rows, columns = reader.numbers(2)
    filters = np.frombuffer(reader.bytes(4 * rows * columns), "<f4").reshape(rows, columns)
    tokens = [reader.bytes(reader.numbers(1)[0]) for _ in range(reader.numbers(1)[0])]
    tensors: dict[str, tuple[int, Any]] = {}
    # Bytes of a block of 32 values: a scale of 16 bits, and 4, 5 or 8 bits for each.
    block = {2: 2 + 16, 6: 2 + 4 + 16, 8: 2 + 32}
    while reader.at < len(reader.data):
        dimensions, length, kind = reader.numbers(3)
        shape = reader.numbers(dimensions)[::-1]
        name, count = reader.bytes(length).decode(), int(np.prod(shape))
        if kind in block:
            tensors[name] = kind, (shape, reader.bytes(count // 32 * block[kind]))
        else:
            kind_of = {0: "<f4", 1: "<f2"}[kind]
            size = int(np.dtype(kind_of).itemsize)
            tensors[name] = kind, np.frombuffer(reader.bytes(size * count), kind_of).reshape(shape)
    return tuple(sizes), filters, tokens, tensors


def test_whisper_cpps_file_has_sizes_tokens_filters_and_weights(adapter: Adapter, tmp_path: Path) -> None:
    path = adapter()
    out = exported(path, "ggml", tmp_path / "ggml")
    sizes, filters, tokens, tensors = read_ggml(out / "ggml-model.bin")
    source = open_source(path)
    merge(source.base, source.spec, source.state)
    # vocabulary; context, width, heads and layers of both stacks; mel bins; 16 bits
    assert sizes == (source.base.tokeniser.size, 1500, 32, 2, 2, 40, 32, 2, 1, 80, 1)
    assert filters.shape == (80, 201) and (filters.sum(axis=1) > 0).all()
    assert len(tokens) == BPE and b" the" in tokens and tokens[0] == b"!"
    own = {openai_name(name): tensor for name, tensor in source.base.network.state_dict().items()}
    assert set(tensors) == set(own) - {"proj_out.weight"}
    for name, (kind, values) in tensors.items():
        wanted = own[name].numpy()
        whole = wanted.ndim == 1 or name.endswith(("positional_embedding", ".bias"))
        assert kind == (0 if whole else 1)
        assert np.allclose(values.reshape(wanted.shape), wanted, atol=0 if whole else 2e-3, rtol=1e-3)
    assert tensors["encoder.conv1.bias"][1].shape == (32, 1)


@pytest.mark.parametrize(
    ("quantise", "whole", "kind"), [("q8_0", 2007, 8), ("q5_0", 2008, 6), ("q4_0", 2002, 2)]
)
def test_matrices_are_quantised_in_blocks(
    adapter: Adapter, tmp_path: Path, quantise: str, whole: int, kind: int
) -> None:
    gguf = pytest.importorskip("gguf")
    path = adapter()
    out = exported(path, "ggml", tmp_path / quantise, quantise=quantise)
    sizes, _, _, tensors = read_ggml(out / "ggml-model.bin")
    assert sizes[-1] == whole
    source = open_source(path)
    merge(source.base, source.spec, source.state)
    own = {openai_name(name): tensor for name, tensor in source.base.network.state_dict().items()}
    quantised = {name: values for name, (found, values) in tensors.items() if found == kind}
    # 48, the width of the decoder's feed-forward, is no multiple of 32: that matrix stays in 16 bits.
    assert "decoder.token_embedding.weight" in quantised
    assert tensors["decoder.blocks.0.mlp.2.weight"][0] == 1 and tensors["encoder.conv1.weight"][0] == 1
    for name, (shape, data) in quantised.items():
        rows = np.frombuffer(data, np.uint8).reshape(shape[0], -1)
        back = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType(kind))
        error = np.abs(back - own[name].numpy()).max() / np.abs(own[name].numpy()).max()
        assert error < {"q8_0": 0.01, "q5_0": 0.08, "q4_0": 0.15}[quantise]


def test_names_are_those_that_openais_checkpoints_are_read_by(adapter: Adapter) -> None:
    """The reader of OpenAI's files, which published checkpoints have tested, turns every name back."""
    for name in open_source(adapter()).base.network.state_dict():
        if name != "proj_out.weight":
            assert transformers_name(openai_name(name)) == name


def test_a_missing_library_is_named_with_its_command(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", missing)
    source = open_source(adapter())
    with pytest.raises(SamlError, match=r"needs gguf .*: pip install 'saml\[export\]'"):
        write_ggml(source.base, tmp_path / "model.bin", "q8_0")


@pytest.mark.parametrize(
    ("to", "quantise", "known"),
    [
        ("peft", "int8", "nothing: leave it out"),
        ("ggml", "int8", "q4_0, q5_0, q8_0"),
        ("ctranslate2", "q8_0", "int8"),
    ],
)
def test_a_format_rounds_as_it_can(
    adapter: Adapter, tmp_path: Path, to: str, quantise: str, known: str
) -> None:
    with pytest.raises(SamlError, match=f"--quantise {quantise}: --to {to} takes {known}"):
        exported(adapter(), to, tmp_path / "none", quantise=quantise)
    assert not (tmp_path / "none").exists()
