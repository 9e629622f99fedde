"""What is given for a checkpoint and is none: named for what it is, with what to do, before anything is read.

`saml doctor` and `saml import-base` open a checkpoint by the function that is tested here.
"""

import gzip
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from saml.compat.torchaudio import ensure
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.runtime.errors import SamlError
from tests.models.conftest import save_bpe_checkpoint, section

ensure()  # before transformers, with which checkpoints are written

Make = Callable[[Path], object]


def refused(named: Path | str) -> str:
    with pytest.raises(SamlError) as caught:
        open_checkpoint(section(named, characters=None))
    message = str(caught.value)
    assert message.startswith("model.whisper.checkpoint: ") and "\n" not in message and "; " in message
    return message


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


def said(path: Path) -> str:
    """The message about a file that had to be opened as OpenAI's."""
    with pytest.raises(SamlError) as caught:
        open_checkpoint(section(path, characters=None))
    return str(caught.value)


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


def damaged(folder: Path, name: str, data: bytes) -> str:
    """The message where a file of a checkpoint has this content; the file is as it was afterwards."""
    path = folder / name
    before = path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(SamlError) as caught:
        open_checkpoint(section(folder, characters=None))
    path.write_bytes(before)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_a_damaged_file_of_a_checkpoint(tmp_path: Path) -> None:
    """Cut short at many places: in the header, in the tensors, and one byte too few or too many."""
    folder = save_bpe_checkpoint(tmp_path / "whole")
    whole = (folder / "model.safetensors").read_bytes()
    for size in (1, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        message = damaged(folder, "model.safetensors", whole[:size])
        assert f"model.safetensors: truncated or damaged safetensors of {size} bytes (" in message
        assert message.endswith("; copy or download it again")
    assert "truncated or damaged" in damaged(folder, "model.safetensors", whole + b"\0")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    message = damaged(folder, "model.safetensors", pointer)
    assert "model.safetensors is a Git LFS pointer, not the file itself; run `git lfs pull`" in message
    assert "tokenizer.json is a Git LFS pointer" in damaged(folder, "tokenizer.json", pointer)
    assert "config.json is a web page" in damaged(folder, "config.json", b"<html>")
    assert "is an empty file" in damaged(folder, "generation_config.json", b"")
    other = {"encoder.weight": torch.zeros(3)}
    save_file(other, tmp_path / "other.safetensors")
    message = damaged(folder, "model.safetensors", (tmp_path / "other.safetensors").read_bytes())
    assert message.endswith("not the weights of a Whisper (the first tensor is encoder.weight)")
    open_checkpoint(section(folder, characters=None))


def test_damaged_files_of_torch(tmp_path: Path) -> None:
    folder = save_bpe_checkpoint(tmp_path / "whole")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    whole = (folder / "pytorch_model.bin").read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 1):
        message = damaged(folder, "pytorch_model.bin", whole[:size])
        assert "truncated or damaged" in message and message.endswith("copy or download it again")
    torch.save({"a": Path("x")}, tmp_path / "code.bin")
    message = damaged(folder, "pytorch_model.bin", (tmp_path / "code.bin").read_bytes())
    assert "pytorch_model.bin: holds other objects than tensors, or is damaged" in message
    torch.save([1, 2], tmp_path / "list.bin")
    message = damaged(folder, "pytorch_model.bin", (tmp_path / "list.bin").read_bytes())
    assert "holds a list, not tensors by name" in message


def test_files_of_an_early_torch(tmp_path: Path) -> None:
    """Before 1.6 they were no zip archives."""
    folder = save_bpe_checkpoint(tmp_path / "whole")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    state = read_recogniser(open_checkpoint(section(folder, characters=None))).network.state_dict()
    assert all(
        torch.equal(state[name], tensor) for name, tensor in tensors.items() if "positions" not in name
    )
    whole = path.read_bytes()
    for size in (20, len(whole) // 2, len(whole) - 1):
        message = damaged(folder, path.name, whole[:size])
        assert "damaged" in message and message.endswith("copy or download it again")


class Code:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("as_zip", [True, False])
def test_code_in_weights_is_not_run(tmp_path: Path, as_zip: bool) -> None:
    folder, made = save_bpe_checkpoint(tmp_path / "whole"), tmp_path / "made"
    (folder / "model.safetensors").unlink()
    for path in (folder / "pytorch_model.bin", tmp_path / "tiny.en.pt"):
        torch.save({"a": Code(made)}, path, _use_new_zipfile_serialization=as_zip)
        assert "holds other objects than tensors" in said(folder if path.suffix == ".bin" else path)
    assert not made.exists()
    torch.load(path, weights_only=False)  # which is what it would have done
    assert made.is_dir()


def test_an_adapter_beside_a_whole_model(tmp_path: Path) -> None:
    folder = save_bpe_checkpoint(tmp_path / "whole")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "other"}')
    assert "has a PEFT adapter beside a whole model" in refused(folder)


def test_shards_that_do_not_fit_their_index(tmp_path: Path) -> None:
    from transformers import WhisperForConditionalGeneration

    folder = save_bpe_checkpoint(tmp_path / "whole")
    network = WhisperForConditionalGeneration.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size="60kB")
    read_recogniser(open_checkpoint(section(folder, characters=None)))
    name = "model.safetensors.index.json"
    index = json.loads((folder / name).read_text())
    shards = sorted(set(index["weight_map"].values()))
    tensor = min(index["weight_map"])
    other = next(shard for shard in shards if shard != index["weight_map"][tensor])

    def changed(**moved: object) -> bytes:
        return json.dumps({**index, "weight_map": {**index["weight_map"], **moved}}).encode()

    for content, message in (
        (changed(**{tensor: "../x.safetensors"}), "'../x.safetensors' is no name of a file beside it"),
        (changed(**{tensor: 3}), "3 is no name of a file beside it"),
        (b"{}", "no index of shards, it has no weight_map"),
        (b"[", "not JSON"),
    ):
        assert message in damaged(folder, name, content)
    (folder / name).write_bytes(changed(**{tensor: other}))
    with pytest.raises(SamlError, match=rf"{other}: has no tensor {tensor}, which {name} lists; copy"):
        open_checkpoint(section(folder, characters=None))
    (folder / name).write_bytes(changed())
    (folder / shards[1]).unlink()
    assert f"{folder} has no {shards[1]}, which {name} lists; point it" in refused(folder)


def test_a_large_checkpoint_is_looked_at_without_reading_it(tmp_path: Path) -> None:
    """A file of 40 GB with holes for tensors: opening it takes no time and no memory."""
    folder = save_bpe_checkpoint(tmp_path / "whole")
    size = 40 * 10**9
    names = {"model.encoder.embed_positions.weight": {"dtype": "F32", "shape": [size // 4]}}
    header = json.dumps({name: {**of, "data_offsets": [0, size]} for name, of in names.items()}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    open_checkpoint(section(folder, characters=None))
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(8 + len(header) + size - 1)
    assert "truncated or damaged safetensors of 40000000" in said(folder)
