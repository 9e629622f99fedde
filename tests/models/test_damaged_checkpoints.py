"""Files of a checkpoint that are damaged, or hold something else than weights: named, and never run."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from saml.compat.torchaudio import ensure
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.runtime.errors import SamlError
from tests.models.conftest import save_bpe_checkpoint, section
from tests.models.refusals import refused, said

ensure()  # before transformers, with which checkpoints are written


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
