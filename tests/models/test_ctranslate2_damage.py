"""Folders in CTranslate2's format that are damaged or hold another network: what is said of them."""

import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.runtime.errors import SamlError
from tests.models.conftest import section
from tests.models.ctranslate2_writer import Content, network_in, whisper_content, write_config, write_folder


def refused(folder: Path) -> str:
    """What is said of a folder, by the checks before a run or else by the job; never another error."""
    with pytest.raises(SamlError) as caught:
        read_recogniser(open_checkpoint(section(folder, characters=None)))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


Change = Callable[[Content], None]
CONV, KEYS = "encoder/conv1/weight", "decoder/layer_0/self_attention/linear_0/bias"


def drop(name: str) -> Change:
    def change(content: Content) -> None:
        del content.tensors[name]

    return change


def put(name: str, array: Any, dtype: str = "float32") -> Change:
    return lambda content: content.put(name, np.asarray(array), dtype)


def say(**changes: Any) -> Change:
    def change(content: Content) -> None:
        for name, value in changes.items():
            setattr(content, name, value)

    return change


def declare(name: str, *shape: int) -> Change:
    def change(content: Content) -> None:
        dtype, _, data = content.tensors[name]
        content.tensors[name] = (dtype, shape, data)

    return change


CHANGES: dict[str, tuple[str, Change, str]] = {
    "version": (
        "float16",
        say(version=5),
        "has version 5 of CTranslate2's format, and only 6 can be read; convert",
    ),
    "kind": (
        "float16",
        say(kind="TransformerSpec", revision=7),
        "a TransformerSpec of revision 7 of CTranslate2",
    ),
    "revision": (
        "float16",
        say(revision=2),
        "only a WhisperSpec of revision 3 can be read; name a Whisper, or",
    ),
    "name": ("float16", say(kind="a\x1b[2J"), "truncated or damaged model of CTranslate2"),
    "missing": ("float16", drop(CONV), f"tensor {CONV} is missing; convert the model again"),
    "layer": (
        "float16",
        drop("encoder/layer_1/ffn/linear_1/bias"),
        "tensor encoder/layer_1/ffn/linear_1/bias is missing",
    ),
    "heads missing": ("float16", drop("encoder/num_heads"), "tensor encoder/num_heads is missing"),
    "more": (
        "float16",
        put("encoder/more", [1.0]),
        "tensor encoder/more is left over, and no Whisper has it",
    ),
    "layers": (
        "float16",
        put("decoder/layer_9/ffn/layer_norm/beta", [1.0]),
        "tensor decoder/layer_1/self_attention/layer_norm/gamma is missing",
    ),
    "shape": ("float16", put("decoder/layer_norm/beta", [1.0]), "has shape (1,), not (32,)"),
    "dimensions": ("float16", put(CONV, [[1.0]]), "has shape (1, 1), not one of 3 dimensions"),
    "wide": (
        "float16",
        declare("encoder/conv2/weight", 32 * 32 * 3, 1, 1),
        "has shape (3072, 1, 1), not (32, 32, 3)",
    ),
    "no heads": (
        "float16",
        put("encoder/num_heads", 0, "int16"),
        "encoder/num_heads is 0, and does not divide",
    ),
    "odd heads": ("float16", put("encoder/num_heads", 5, "int16"), "is 5, and does not divide the width 32"),
    "part of a head": ("float16", put("encoder/num_heads", 1.5), "is 1.5, and does not divide"),
    "no number of heads": ("float16", put("encoder/num_heads", np.nan), "is nan, and does not divide"),
    "other heads": (
        "float16",
        put("encoder/num_heads", 4, "int16"),
        "encoder and decoder differ in their heads",
    ),
    "activation": (
        "float16",
        put("decoder/activation", 0, "int8"),
        "decoder/activation is 0, and only 3 can be",
    ),
    "flag": ("float16", put("decoder/alibi", 1, "int8"), "decoder/alibi is 1, and only 0 can be read"),
    "untied": (
        "float16",
        say(aliases=[("decoder/projection/weight", CONV)]),
        "is not decoder/embeddings/weight",
    ),
    "no projection": ("float16", say(aliases=[]), "tensor decoder/projection/weight is missing"),
    "no target": ("float16", say(aliases=[("a", "b")]), "a stands for b, which is not there"),
    "twice": ("float16", say(aliases=[(CONV, CONV)]), f"there are two tensors {CONV}"),
    "key bias": (
        "float16",
        put(KEYS, np.ones(96)),
        f"tensor {KEYS} has a bias for keys, and no Whisper has one",
    ),
    "no scale": ("int8", drop(f"{CONV}_scale"), f"tensor {CONV} is int8 and has no scale for each row"),
    "scales": (
        "int8",
        put(f"{CONV}_scale", np.ones(5)),
        f"tensor {CONV} is int8 and has no scale for each row",
    ),
    "zero scale": (
        "int8",
        put(f"{CONV}_scale", np.zeros(32)),
        "tensor model.encoder.conv1.weight is not finite",
    ),
    "scale of floats": ("float16", put(f"{CONV}_scale", np.ones(32)), f"tensor {CONV}_scale is left over"),
    "zero points": ("int8", put("encoder/conv1/weight_zero", np.ones(32)), "weight_zero is left over"),
    "not finite": ("float16", put("encoder/conv1/bias", np.full(32, np.nan)), "conv1.bias is not finite"),
    "positions": (
        "float16",
        put("encoder/position_encodings/encodings", np.ones((70, 32))),
        "positions are not Whisper's sinusoids",
    ),
    "an exabyte": ("float16", declare(CONV, 2**20, 2**20, 2**20), "bytes, not 2305843009213693952"),
    "longer": ("float16", declare(CONV, 32, 80, 4), "of shape [32, 80, 4] has 15360 bytes, not 20480"),
    "empty": ("float16", put(CONV, np.zeros((32, 0, 3))), f"{CONV} is empty"),
    "eight dimensions": ("float16", put(CONV, np.zeros([1] * 8)), f"{CONV} has 8 dimensions"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_another_network_or_a_damaged_file_is_named(original: Path, tmp_path: Path, case: str) -> None:
    kind, change, message = CHANGES[case]
    content = whisper_content(network_in(original), kind)
    change(content)
    folder = write_folder(tmp_path / "faster", original, content)
    tracemalloc.start()
    found = refused(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(folder) in found and message in found
    assert peak < 30e6


def test_a_file_that_is_cut_anywhere(written: Any) -> None:
    """Before a run already: nothing but the heads of tensors is read then."""
    folder = written("int8")
    path = folder / "model.bin"
    data = path.read_bytes()
    for end in (*range(1, 200), *range(200, len(data), 991), len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(SamlError) as caught:
            open_checkpoint(section(folder, characters=None))
        found = str(caught.value)
        assert str(path) in found and (end < 4 or found.endswith("; copy or download it again")), end
    path.write_bytes(data + b"\0")
    assert "1 bytes follow its end" in refused(folder)


def test_a_changed_byte_is_no_defect(written: Any) -> None:
    """Refused in one line, or a model of other values: never another exception, nor much memory."""
    folder = written("float16")
    path = folder / "model.bin"
    data = path.read_bytes()
    random = np.random.default_rng(3)
    heads = [
        data.index(name)
        for name in (b"decoder/embeddings/weight", b"encoder/num_heads", b"encoder/conv1/bias")
    ]
    places = [
        *range(25),
        *(place + k for place in heads for k in range(-8, 45)),
        *range(len(data) - 70, len(data)),
    ]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= int(random.integers(1, 256))
        path.write_bytes(changed)
        try:
            open_checkpoint(section(folder, characters=None))
        except SamlError as error:
            assert str(folder) in str(error), place


def test_files_beside_the_weights(written: Any, original: Path, tmp_path: Path) -> None:
    folder = written("float16")

    def without(name: str) -> str:
        lacking = tmp_path / f"without-{name}"
        shutil.copytree(folder, lacking)
        (lacking / name).unlink()
        return refused(lacking)

    assert "has no config.json; point it to a folder" in without("config.json")
    assert "no vocabulary of Whisper's; put its tokenizer.json" in without("tokenizer.json")
    write_config(folder, suppress_ids=[3, 999])
    assert "config.json: suppress_ids is no list of ids of the 286 tokens ([3, 999])" in refused(folder)
    write_config(folder, suppress_ids=[3], suppress_ids_begin="4")
    assert "suppress_ids_begin is no list of ids" in refused(folder)
    shutil.copy(original / "config.json", folder)
    assert (
        "config.json: has no suppress_ids, so it is not that of model.bin; copy the config.json"
        in refused(folder)
    )
    with pytest.raises(
        SamlError, match=r"no vocab.json of characters, but tokenizer.json; say model\S+: null$"
    ):
        open_checkpoint(section(folder))


def test_weights_of_torch_under_this_name(written: Any, tmp_path: Path) -> None:
    """Nothing is unpickled."""
    folder = written("float16")
    torch.save({"a": torch.zeros(3)}, folder / "model.bin")
    assert "not in CTranslate2's format of version 6; if these are PyTorch weights, call" in refused(folder)
    (folder / "model.bin").write_bytes(struct.pack("<I", 6))
    assert "truncated or damaged model of CTranslate2, 4 bytes (it ends within its kind" in refused(folder)
