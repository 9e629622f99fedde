"""A Whisper in CTranslate2's format, which faster-whisper uses, in transformers' names.

Its config.json has no sizes: they are those of the tensors. Weights may be integers: each weight times a
scale, of its row or of the whole tensor, and rounded. Full precision is then that of the rounded weights.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saml.models.checkpoints.ctranslate2_variables import ModelFile, Variable, read_model_file
from saml.models.checkpoints.files import CONFIG, CTRANSLATE2
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object

_KIND, _REVISION = "WhisperSpec", 3
# Flags of a decoder, and what a Whisper has there. All others are 0, which is off.
_FLAGS: dict[str, tuple[int, ...]] = {
    "decoder/activation": (3,),  # GELU, not its approximations
    "decoder/pre_norm": (1,),
    "decoder/scale_embeddings": (0, 1),  # as a factor, 1 is none
    # Of the attention that tells when a word was spoken, which nothing here looks at.
    "decoder/alignment_layer": (),
    "decoder/alignment_heads": (),
}
_HEADS = "{}/num_heads"
_EMBEDDINGS, _PROJECTION = "decoder/embeddings/weight", "decoder/projection/weight"
_SCALE = "_scale"  # after the name of integers


@dataclass(frozen=True)
class _Part:
    """A tensor of the file, and the tensors of transformers that are stacked in it, equally high.

    None stands for rows that are zero: a key has no bias.
    """

    name: str
    shape: tuple[int, ...]
    tensors: tuple[str | None, ...]


def read_ctranslate2_config(folder: Path, remedy: str) -> dict[str, Any]:
    """The configuration, as transformers would write it; of the weights only names and shapes are read.

    `rounded` in it is the integer type that weights were rounded to, None where they were not.

    Raises SamlError, ending with `remedy`, where the weights are truncated or damaged, and where they are
    not a whole Whisper's or config.json is another program's.
    """
    return _opened(folder, remedy)[1]


def read_ctranslate2(folder: Path, remedy: str) -> dict[str, Tensor]:
    """The weights, float32 under transformers' names. Raises as `read_ctranslate2_config`."""
    file, config = _opened(folder, remedy)
    return {
        name: tensor
        for part in _parts(config)
        for name, tensor in zip(part.tensors, _values(file, part).chunk(len(part.tensors)), strict=True)
        if name is not None
    }


def _opened(folder: Path, remedy: str) -> tuple[ModelFile, dict[str, Any]]:
    file = read_model_file(folder / CTRANSLATE2, remedy)
    if (file.kind, file.revision) != (_KIND, _REVISION):
        raise SamlError(
            f"{file.path}: a {file.kind} of revision {file.revision} of CTranslate2, and only a {_KIND} of "
            f"revision {_REVISION} can be read; name a Whisper, or convert it with a CTranslate2 of today"
        )
    sizes = _sizes(file)
    known = set()
    for part in _parts(sizes):
        _check_shape(file, part)
        known.add(part.name)
    _refuse_others(file, known)
    return file, {**sizes, **_suppressed(folder, sizes["vocab_size"]), "rounded": _rounded(file)}


def _sizes(file: ModelFile) -> dict[str, Any]:
    width, bins = _shape(file, "encoder/conv1/weight", 3)[:2]
    heads = {stack: _heads(file, stack, width) for stack in ("encoder", "decoder")}
    return {
        "model_type": "whisper",
        "vocab_size": _shape(file, _EMBEDDINGS, 2)[0],
        "num_mel_bins": bins,
        "d_model": width,
        "encoder_layers": _layers(file, "encoder"),
        "decoder_layers": _layers(file, "decoder"),
        "encoder_attention_heads": heads["encoder"],
        "decoder_attention_heads": heads["decoder"],
        "encoder_ffn_dim": _shape(file, "encoder/layer_0/ffn/linear_0/weight", 2)[0],
        "decoder_ffn_dim": _shape(file, "decoder/layer_0/ffn/linear_0/weight", 2)[0],
        "max_source_positions": _shape(file, "encoder/position_encodings/encodings", 2)[0],
        "max_target_positions": _shape(file, "decoder/position_encodings/encodings", 2)[0],
        "dropout": 0.0,
    }


def _suppressed(folder: Path, size: int) -> dict[str, list[int]]:
    """What decoding with CTranslate2 suppresses, under transformers' names."""
    path = folder / CONFIG
    said = read_json_object(path)
    if "suppress_ids" not in said:
        raise SamlError(
            f"{path}: has no suppress_ids, so it is not that of {CTRANSLATE2}; copy the {CONFIG} that lay "
            "beside it when it was converted"
        )
    found = {}
    for ours, theirs in (
        ("suppress_tokens", "suppress_ids"),
        ("begin_suppress_tokens", "suppress_ids_begin"),
    ):
        found[ours] = ids = said.get(theirs) or []
        if not isinstance(ids, list) or not all(type(one) is int and 0 <= one < size for one in ids):
            raise SamlError(f"{path}: {theirs} is no list of ids of the {size} tokens ({ids!r:.80})")
    return found


def _shape(file: ModelFile, name: str, dimensions: int) -> tuple[int, ...]:
    shape = _variable(file, name).shape
    if len(shape) != dimensions:
        raise SamlError(f"{file.path}: tensor {name} has shape {shape}, not one of {dimensions} dimensions")
    return shape


def _variable(file: ModelFile, name: str) -> Variable:
    if name not in file.variables:
        raise SamlError(f"{file.path}: tensor {name} is missing; convert the model again")
    return file.variables[name]


def _heads(file: ModelFile, stack: str, width: int) -> int:
    name = _HEADS.format(stack)
    _shape(file, name, 0)
    heads = float(file.read(name))
    if not 1 <= heads <= width or not heads.is_integer() or width % heads:
        raise SamlError(f"{file.path}: {name} is {heads:g}, and does not divide the width {width}")
    return int(heads)


def _layers(file: ModelFile, stack: str) -> int:
    """The number of layers; one that is missing in between is noticed when its tensors are looked up."""
    prefix = f"{stack}/layer_"
    numbers = {name.removeprefix(prefix).split("/")[0] for name in file.variables if name.startswith(prefix)}
    return max(1, len(numbers - {"norm"}))


def _parts(config: Mapping[str, Any]) -> Iterator[_Part]:
    """All tensors of a Whisper of these sizes."""
    width = config["d_model"]
    for number, inputs in enumerate((config["num_mel_bins"], width), start=1):
        name = f"encoder/conv{number}"
        yield _Part(f"{name}/weight", (width, inputs, 3), (f"model.encoder.conv{number}.weight",))
        yield _Part(f"{name}/bias", (width,), (f"model.encoder.conv{number}.bias",))
    embeddings = (config["vocab_size"], width)
    yield _Part(_EMBEDDINGS, embeddings, ("model.decoder.embed_tokens.weight",))
    for stack, positions in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        ours = f"model.{stack}"
        positions_shape = (config[positions], width)
        yield _Part(
            f"{stack}/position_encodings/encodings", positions_shape, (f"{ours}.embed_positions.weight",)
        )
        yield from _norm(f"{stack}/layer_norm", f"{ours}.layer_norm", width)
        for layer in range(config[f"{stack}_layers"]):
            yield from _layer(f"{stack}/layer_{layer}", f"{ours}.layers.{layer}", stack, config)


def _layer(theirs: str, ours: str, stack: str, config: Mapping[str, Any]) -> Iterator[_Part]:
    width, inner = config["d_model"], config[f"{stack}_ffn_dim"]
    yield from _norm(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm", width)
    yield from _attention(f"{theirs}/self_attention", f"{ours}.self_attn", ("qkv",), width)
    if stack == "decoder":
        yield from _norm(f"{theirs}/attention/layer_norm", f"{ours}.encoder_attn_layer_norm", width)
        yield from _attention(f"{theirs}/attention", f"{ours}.encoder_attn", ("q", "kv"), width)
    yield from _norm(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm", width)
    yield from _linear(f"{theirs}/ffn/linear_0", (f"{ours}.fc1",), (inner, width))
    yield from _linear(f"{theirs}/ffn/linear_1", (f"{ours}.fc2",), (width, inner))


def _attention(theirs: str, ours: str, stacked: tuple[str, ...], width: int) -> Iterator[_Part]:
    """Projections of one input are stacked: of each linear, which."""
    for number, letters in enumerate(stacked):
        names = tuple(f"{ours}.{letter}_proj" for letter in letters)
        yield from _linear(f"{theirs}/linear_{number}", names, (width * len(names), width))
    yield from _linear(f"{theirs}/linear_{len(stacked)}", (f"{ours}.out_proj",), (width, width))


def _linear(theirs: str, ours: tuple[str, ...], shape: tuple[int, int]) -> Iterator[_Part]:
    yield _Part(f"{theirs}/weight", shape, tuple(f"{name}.weight" for name in ours))
    biases = tuple(None if name.endswith(".k_proj") else f"{name}.bias" for name in ours)
    yield _Part(f"{theirs}/bias", shape[:1], biases)


def _norm(theirs: str, ours: str, width: int) -> Iterator[_Part]:
    yield _Part(f"{theirs}/gamma", (width,), (f"{ours}.weight",))
    yield _Part(f"{theirs}/beta", (width,), (f"{ours}.bias",))


def _check_shape(file: ModelFile, part: _Part) -> None:
    """Before anything of these sizes is made: what a tensor has of its own is no longer than the file."""
    variable = _variable(file, part.name)
    if variable.shape != part.shape:
        raise SamlError(f"{file.path}: tensor {part.name} has shape {variable.shape}, not {part.shape}")
    if variable.dtype.is_floating_point:
        return
    scale = file.variables.get(_scale_of(file, part.name))
    if scale is None or scale.shape not in ((), part.shape[:1]) or not scale.dtype.is_floating_point:
        kind = str(variable.dtype).removeprefix("torch.")
        raise SamlError(
            f"{file.path}: tensor {part.name} is {kind} and has no scale for each row; convert the model "
            "again"
        )


def _scale_of(file: ModelFile, name: str) -> str:
    """The name of a tensor's scale. Aliases of a tensor have no scale of their own."""
    own = file.variables[name]
    names = (other for other, variable in file.variables.items() if variable is own)
    return next((f"{other}{_SCALE}" for other in names if f"{other}{_SCALE}" in file.variables), "")


def _refuse_others(file: ModelFile, known: set[str]) -> None:
    """Refuse a network that is not Whisper's: other tensors, flags that are on, a projection of its own."""
    if _variable(file, _PROJECTION) is not file.variables[_EMBEDDINGS]:
        raise SamlError(f"{file.path}: {_PROJECTION} is not {_EMBEDDINGS}, as in every Whisper")
    known = known | {_PROJECTION, _HEADS.format("encoder"), _HEADS.format("decoder")}
    for name in sorted(file.variables.keys() - known):
        scaled = file.variables.get(name.removesuffix(_SCALE))
        if name.endswith(_SCALE) and scaled is not None and not scaled.dtype.is_floating_point:
            continue
        if file.variables[name].shape:
            raise SamlError(f"{file.path}: tensor {name} is left over, and no Whisper has it")
        wanted, found = _FLAGS.get(name, (0,)), float(file.read(name))
        if wanted and found not in wanted:
            raise SamlError(f"{file.path}: {name} is {found:g}, and only {wanted[-1]} can be read")


def _rounded(file: ModelFile) -> str | None:
    kinds = {variable.dtype for name, variable in file.variables.items() if name.endswith("/weight")}
    integers = sorted(str(kind).removeprefix("torch.") for kind in kinds if not kind.is_floating_point)
    return integers[0] if integers else None


def _values(file: ModelFile, part: _Part) -> Tensor:
    """The values of a tensor, float32: the stored ones, without their scale."""
    stored = file.read(part.name)
    values = stored.float()
    if not stored.dtype.is_floating_point:
        scale = file.read(_scale_of(file, part.name)).float()
        values /= scale.reshape(-1, *[1] * (values.dim() - 1))
    for name, rows in zip(part.tensors, values.chunk(len(part.tensors)), strict=True):
        if name is None and torch.any(rows != 0):
            raise SamlError(f"{file.path}: tensor {part.name} has a bias for keys, and no Whisper has one")
    return values
