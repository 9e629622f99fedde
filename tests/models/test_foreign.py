"""What is given for a checkpoint and is none: named for what it is, with what to do, before anything is read.

`saml doctor` and `saml import-base` open a checkpoint by the function that is tested here.
"""

import gzip
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from saml.compat.torchaudio import ensure
from saml.models.checkpoints.transformers import open_checkpoint
from tests.models.conftest import save_bpe_checkpoint, section
from tests.models.refusals import refused, said

ensure()  # before transformers, with which checkpoints are written

Make = Callable[[Path], object]


def write(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/config.json", "{}")


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as file:
        file.add(__file__, "config.json")


def ggml(path: Path) -> None:
    """As whisper.cpp writes it: the magic number, little-endian, and the sizes of the network."""
    path.write_bytes(struct.pack("<I11i", 0x67676D6C, 51864, *range(10)))


FILES: dict[str, tuple[str, Make, str]] = {
    "ggml": ("ggml-tiny.en.bin", ggml, "is a model of whisper.cpp (GGML); name the transformers model"),
    "gguf": ("tiny.gguf", write(b"GGUF\3\0\0\0"), "is a model in GGUF format; name the transformers model"),
    "audio": (
        "a.wav",
        lambda path: soundfile.write(path, np.zeros(99), 16000),
        "is an audio file; name a model",
    ),
    "flac": (
        "a.flac",
        lambda path: soundfile.write(path, np.zeros(99), 16000),
        "is an audio file; name a model",
    ),
    "m4a": ("a.m4a", write(b"\0\0\0\x20ftypM4A "), "is an audio file; name a model"),
    "mp3": ("a.mp3", write(b"\xff\xf3\x40\xc4"), "is an audio file; name a model"),
    "zip": ("model.zip", archive, "is a compressed archive; unpack it"),
    "tar": ("model.tar", tar, "is a compressed archive; unpack it"),
    "gzip": ("model.tar.gz", write(gzip.compress(b"x")), "is a compressed archive; unpack it"),
    "page": (
        "tiny.en.pt",
        write(b"\n<!DOCTYPE html><html>"),
        "is a web page that was saved in place of the file",
    ),
    "lfs": (
        "model.bin",
        write(b"version https://git-lfs.github.com/spec/v1\n"),
        "is a Git LFS pointer, not the",
    ),
    "keras": (
        "tf_model.h5",
        write(b"\x89HDF\r\n\x1a\n"),
        "is a TensorFlow model; convert it with transformers",
    ),
    "onnx": ("encoder.onnx", write(b"\x08\x07"), "is an ONNX model; name the transformers model"),
    "flax": ("flax_model.msgpack", write(b"\x81\xa5model"), "is a Flax model; convert it"),
    "empty": ("tiny.en.pt", write(b""), "is an empty file; copy or download it again"),
    "text": ("notes.txt", write(b"to do"), "is no checkpoint; name a folder"),
    "safetensors": (
        "model.safetensors",
        lambda path: save_file({"a": torch.zeros(2)}, path),
        "is weights alone; name a folder that has them and their config.json",
    ),
    "torch": (
        "model.ckpt",
        lambda path: torch.save({"state_dict": {"a": torch.zeros(2)}, "epoch": 3}, path),
        "not a Whisper as OpenAI publishes them (it has no dims and model_state_dict, but state_dict, epoch)",
    ),
    "pickle": ("tiny.en.pt", lambda path: torch.save(Path("x"), path), "holds other objects than tensors"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_named_for_what_it_is(tmp_path: Path, kind: str) -> None:
    name, make, message = FILES[kind]
    make(tmp_path / name)
    found = refused(tmp_path / name) if kind not in ("torch", "pickle") else said(tmp_path / name)
    assert f"{tmp_path / name}" in found and message in found


def test_a_truncated_file_of_openai(tmp_path: Path) -> None:
    path = tmp_path / "tiny.en.pt"
    torch.save({"dims": {}, "model_state_dict": {"a": torch.zeros(999)}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    message = said(path)
    assert f"{path}: truncated or damaged (" in message and message.endswith("copy or download it again")


def touch(*names: str) -> Make:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"\1")

    return make


def config_and(content: dict[str, object], *names: str) -> Make:
    def make(folder: Path) -> None:
        touch(*names)(folder)
        (folder / "config.json").write_text(json.dumps(content))

    return make


def adapter(folder: Path) -> None:
    """As PEFT writes it."""
    from peft import LoraConfig, get_peft_model
    from transformers import WhisperForConditionalGeneration

    whole = save_bpe_checkpoint(folder.parent / "whole")
    network = WhisperForConditionalGeneration.from_pretrained(whole)
    get_peft_model(network, LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)


WHISPER: dict[str, object] = {"model_type": "whisper"}
FOLDERS: dict[str, tuple[Make, str]] = {
    "empty": (touch(), "is an empty folder; put the model there"),
    "peft": (
        adapter,
        "/whole, not a whole model; merge it into its base (merge_and_unload, then save_pretrained)",
    ),
    "ggml": (lambda folder: ggml(folder / "model.bin"), "is a model of whisper.cpp (GGML) (model.bin); name"),
    "onnx": (
        config_and(WHISPER, "onnx/encoder_model.onnx"),
        "is an ONNX model (onnx/encoder_model.onnx); name",
    ),
    "tensorflow": (config_and(WHISPER, "tf_model.h5"), "is a TensorFlow model (tf_model.h5); convert it"),
    "flax": (config_and(WHISPER, "flax_model.msgpack"), "is a Flax model (flax_model.msgpack); convert it"),
    "variant": (
        config_and(WHISPER, "model.fp16.safetensors"),
        "is a checkpoint whose weights have another name (model.fp16.safetensors); load it in transformers",
    ),
    "openai": (touch("base.en.pt"), "is the folder of base.en.pt; name that file"),
    "runs": (touch("checkpoint-500/config.json"), "name one of the folders in it, such as checkpoint-500"),
    "cache": (
        touch("snapshots/a/config.json", "refs/main"),
        "is a folder of the Hugging Face cache; name hf://me",
    ),
    "saml": (touch("model.json", "model.safetensors"), "is a model that saml wrote; name the checkpoint"),
    "lacking": (config_and(WHISPER), "has no weights (model.safetensors, pytorch_model.bin, or model.bin of"),
    "elsewhere": (touch("README.md"), "has no config.json; point it to a folder"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_named_for_what_it_is(tmp_path: Path, kind: str) -> None:
    make, message = FOLDERS[kind]
    folder = tmp_path / "models--me--tiny"
    folder.mkdir()
    make(folder)
    found = refused(folder)
    assert f"{folder} " in found and message in found


def test_names_that_are_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub = "for the model on the Hugging Face hub write hf://openai/whisper-tiny.en"
    assert refused("openai/whisper-tiny.en").endswith(hub)
    assert refused("https://huggingface.co/openai/whisper-tiny.en/tree/main").endswith(hub)
    assert "there is no folder ./no/where; point it to" in refused("./no/where")
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    assert "names the environment variable NO_SUCH_VARIABLE, which is not set" in refused(
        "$NO_SUCH_VARIABLE/x"
    )


def test_a_loop_of_links_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert f"{tmp_path / 'loop'}" in refused(tmp_path / "loop")


def test_home_and_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_bpe_checkpoint(tmp_path / "tiny")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELS", str(tmp_path))
    for named in ("~/tiny", "$MODELS/tiny", "${MODELS}/tiny"):
        assert open_checkpoint(section(named, characters=None)).path == folder


def test_one_file_of_a_checkpoint_names_its_folder(tmp_path: Path) -> None:
    folder = save_bpe_checkpoint(tmp_path / "whole")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert refused(folder / name).endswith(
            f"{name} is one file of a checkpoint; name its folder, {folder}"
        )


def test_an_adapter_beside_a_whole_model(tmp_path: Path) -> None:
    folder = save_bpe_checkpoint(tmp_path / "whole")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "other"}')
    assert "has a PEFT adapter beside a whole model" in refused(folder)
