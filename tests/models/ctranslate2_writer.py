"""A writer of CTranslate2's format for tests, from transformers' network.

`ctranslate2.specs.model_spec` says how tensors are rounded and written; the names are those that its
converter gives a Whisper.
"""

import json
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saml.compat.torchaudio import ensure

ensure()  # before transformers, with which the networks are read

CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}
KINDS = ("float32", "float16", "bfloat16", "int8", "int8_float16", "int8_float32", "int8_bfloat16", "int16")
Array = np.ndarray[Any, Any]


@dataclass
class Content:
    """What a model.bin holds: of each tensor its type, shape and bytes."""

    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = field(default_factory=dict)
    aliases: list[tuple[str, str]] = field(default_factory=list)
    version: int = 6
    kind: str = "WhisperSpec"
    revision: int = 3

    def put(self, name: str, array: Array, dtype: str | None = None) -> None:
        dtype = dtype or array.dtype.name
        if dtype == "bfloat16":
            data = torch.from_numpy(array.astype(np.float32)).bfloat16().view(torch.int16).numpy().tobytes()
        else:
            data = array.astype(dtype).tobytes()
        self.tensors[name] = (dtype, array.shape, data)

    def pack(self) -> bytes:
        def text(string: str) -> bytes:
            return struct.pack("<H", len(string) + 1) + string.encode() + b"\0"

        data = struct.pack("<I", self.version) + text(self.kind) + struct.pack("<I", self.revision)
        data += struct.pack("<I", len(self.tensors))
        for name, (dtype, shape, values) in self.tensors.items():
            data += text(name) + struct.pack("<B", len(shape)) + struct.pack(f"<{len(shape)}I", *shape)
            data += struct.pack("<BI", CODES[dtype], len(values)) + values
        data += struct.pack("<I", len(self.aliases))
        return data + b"".join(text(name) + text(target) for name, target in self.aliases)


def whisper_variables(network: Any) -> dict[str, Array]:
    """The tensors of transformers' Whisper under CTranslate2's names, float32."""
    state = {name: tensor.float().numpy() for name, tensor in network.state_dict().items()}
    found = {"decoder/embeddings/weight": state["model.decoder.embed_tokens.weight"]}

    def norm(theirs: str, ours: str) -> None:
        found[f"{theirs}/gamma"], found[f"{theirs}/beta"] = state[f"{ours}.weight"], state[f"{ours}.bias"]

    def linear(theirs: str, *ours: str) -> None:
        weights = [state[f"{name}.weight"] for name in ours]
        found[f"{theirs}/weight"] = np.concatenate(weights)
        none = np.zeros(len(weights[0]), np.float32)  # a key has no bias
        found[f"{theirs}/bias"] = np.concatenate([state.get(f"{name}.bias", none) for name in ours])

    for number in (1, 2):
        linear(f"encoder/conv{number}", f"model.encoder.conv{number}")
    for stack in ("encoder", "decoder"):
        found[f"{stack}/position_encodings/encodings"] = state[f"model.{stack}.embed_positions.weight"]
        norm(f"{stack}/layer_norm", f"model.{stack}.layer_norm")
        for k in range(getattr(network.config, f"{stack}_layers")):
            theirs, ours = f"{stack}/layer_{k}", f"model.{stack}.layers.{k}"
            norm(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm")
            own = f"{ours}.self_attn"
            linear(f"{theirs}/self_attention/linear_0", f"{own}.q_proj", f"{own}.k_proj", f"{own}.v_proj")
            linear(f"{theirs}/self_attention/linear_1", f"{own}.out_proj")
            if stack == "decoder":
                norm(f"{theirs}/attention/layer_norm", f"{ours}.encoder_attn_layer_norm")
                cross = f"{ours}.encoder_attn"
                linear(f"{theirs}/attention/linear_0", f"{cross}.q_proj")
                linear(f"{theirs}/attention/linear_1", f"{cross}.k_proj", f"{cross}.v_proj")
                linear(f"{theirs}/attention/linear_2", f"{cross}.out_proj")
            norm(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm")
            linear(f"{theirs}/ffn/linear_0", f"{ours}.fc1")
            linear(f"{theirs}/ffn/linear_1", f"{ours}.fc2")
    return found


def whisper_content(network: Any, kind: str) -> Content:
    """What the converter would write of a network with `quantization=kind`."""
    content = Content()
    for name, array in whisper_variables(network).items():
        integers = kind.split("_")[0] if kind.startswith("int") else None
        if name.endswith("/weight") and integers is not None:
            _put_rounded(content, name, array, integers)
        else:
            content.put(name, array, kind.split("_")[-1] if "float" in kind else "float32")
    for stack in ("encoder", "decoder"):
        content.put(f"{stack}/num_heads", np.array(2), "int16")
    flags = {
        "activation": 3,
        "pre_norm": 1,
        "scale_embeddings": 0,
        "alibi": 0,
        "start_from_zero_embedding": 0,
    }
    for name, value in flags.items():
        content.put(f"decoder/{name}", np.array(value), "int8")
    content.put("decoder/alignment_layer", np.array(-1), "int16")
    content.put("decoder/alignment_heads", np.array(1), "int16")
    content.aliases = [("decoder/projection/weight", "decoder/embeddings/weight")]
    return content


def _put_rounded(content: Content, name: str, array: Array, kind: str) -> None:
    if kind == "int16":
        scale = np.float32(2**10 / np.abs(array).max())
        content.put(name, np.rint(array * scale), "int16")
        content.put(f"{name}_scale", np.array(scale), "float32")
        return
    rows = array.reshape(len(array), -1)
    most = np.abs(rows).max(axis=1)
    most[most == 0] = 127.0
    scales = (127.0 / most).astype(np.float32)
    content.put(name, np.rint(rows * scales[:, None]).reshape(array.shape), "int8")
    content.put(f"{name}_scale", scales, "float32")


def write_config(folder: Path, **changes: Any) -> None:
    """config.json as the converter writes it, with changes."""
    content = {"alignment_heads": [[0, 1]], "lang_ids": [], "suppress_ids": [3], "suppress_ids_begin": [4]}
    (folder / "config.json").write_text(json.dumps({**content, **changes}))


def network_in(folder: Path) -> Any:
    """The network of a folder that transformers wrote."""
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def write_folder(folder: Path, original: Path, content: Content) -> Path:
    """A folder as faster-whisper's models are: the content, a configuration, the original's tokeniser."""
    folder.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(content.pack())
    write_config(folder)
    shutil.copy(original / "tokenizer.json", folder)
    tokens = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocabulary.txt").write_text("\n".join(tokens))
    return folder
