"""NF4 in and out of a model: packed 4-bit codes and block scales, through bitsandbytes.

Every linear, convolution and token-embedding weight is quantised; biases, norms and positions stay as they
are (docs/paper.md, The same). Stored is what bitsandbytes makes, so what is read back equals its own
de-quantisation bit for bit:

    <name>          uint8, two codes a byte
    <name>.absmax   one scale a block: float32, or uint8 when the scales are quantised too ("double")
    <name>.scales   double only: float32, the mean of the scales, then one scale per 256 blocks
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saml.compat.bitsandbytes import functional
from saml.models.recogniser import Recogniser, as_module
from saml.runtime.errors import SamlError

bnb: Any = functional()
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)
_NESTED_BLOCK = 256


def quantisable(recogniser: Recogniser) -> list[str]:
    """Names of the weights that NF4 replaces, each tied weight once."""
    seen: dict[int, str] = {}
    for name, module in as_module(recogniser).named_modules():
        weight = f"{name}.weight"
        if isinstance(module, _LAYERS) and weight not in recogniser.positions:
            seen.setdefault(id(module.weight), weight)
    return list(seen.values())


def pack(weight: Tensor, name: str, *, block_size: int, double: bool) -> dict[str, Tensor]:
    """The stored tensors of one weight, by name (see the module's head)."""
    codes, state = bnb.quantize_4bit(
        weight.detach().float().contiguous(),
        blocksize=block_size,
        compress_statistics=double,
        quant_type="nf4",
    )
    packed = {name: codes.flatten(), f"{name}.absmax": state.absmax}
    if double:
        packed[f"{name}.scales"] = torch.cat([state.offset.reshape(1), state.state2.absmax])
    return packed


def unpack(
    stored: Mapping[str, Tensor], name: str, shape: torch.Size, *, block_size: int, double: bool
) -> Tensor:
    """The float32 weight of `shape` that `pack` stored as `name`.

    Raises SamlError when a tensor is missing or has the wrong size or type for that shape.
    """
    blocks = -(-shape.numel() // block_size)
    absmax_type = torch.uint8 if double else torch.float32
    codes = _stored(stored, name, torch.uint8, -(-shape.numel() // 2))
    absmax = _stored(stored, f"{name}.absmax", absmax_type, blocks)
    nested = None
    offset = None
    if double:
        scales = _stored(stored, f"{name}.scales", torch.float32, 1 + -(-blocks // _NESTED_BLOCK))
        offset = scales[0]
        nested = bnb.QuantState(
            absmax=scales[1:].contiguous(),
            blocksize=_NESTED_BLOCK,
            code=bnb.create_dynamic_map().to(codes.device),
            dtype=torch.float32,
        )
    state = bnb.QuantState(
        absmax=absmax,
        shape=shape,
        blocksize=block_size,
        code=bnb.get_4bit_type("nf4", device=codes.device),
        quant_type="nf4",
        dtype=torch.float32,
        offset=offset,
        state2=nested,
    )
    return bnb.dequantize_4bit(codes.reshape(-1, 1), state).reshape(shape)


def _stored(stored: Mapping[str, Tensor], name: str, dtype: torch.dtype, size: int) -> Tensor:
    tensor = stored.get(name)
    if tensor is None:
        raise SamlError(f"quantised model: tensor {name!r} is missing")
    if tensor.dtype != dtype or tensor.shape != (size,):
        what = f"{tensor.dtype} {tuple(tensor.shape)}, expected {dtype} ({size},)"
        raise SamlError(f"quantised model: tensor {name!r} is {what}")
    return tensor


def quantise(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    weights: Path,
    description: Path,
    out_weights: Path,
    out_description: Path,
    record: Path,
    corpus: str | None = None,
) -> None:
    """The stage: write the NF4 model of a full-precision one and note both sizes.

    `settings` has the config's section `quantisation`: block_size, and double to quantise the scales too.
    """
    from saml.models.store import full_state, load_model, save_model
    from saml.tracking import RunRecord

    recogniser, content = load_model(weights, description)
    if content["precision"] != "fp32":
        raise SamlError(f"{weights}: already quantised")
    how = settings["quantisation"]
    run = RunRecord(
        stage="quantise", experiment=experiment, settings=settings, corpus=corpus, family=content["family"]
    )
    state = full_state(recogniser)
    names = quantisable(recogniser)
    packed: dict[str, Tensor] = {}
    for name in names:
        packed |= pack(state[name], name, block_size=how["block_size"], double=how["double"])
    kept = {name: tensor for name, tensor in state.items() if name not in names}
    save_model(recogniser, out_weights, out_description, quantisation=dict(how), state={**kept, **packed})
    before, after = weights.stat().st_size, out_weights.stat().st_size
    parameters = sum(tensor.numel() for tensor in state.values())
    share = sum(state[name].numel() for name in names) / parameters
    print(
        f"{before / 1e6:.2f} MB -> {after / 1e6:.2f} MB, {before / after:.2f} times smaller", file=sys.stderr
    )
    for key, size in (("model", after), ("full_precision", before)):
        run.size(key, size)
    run.score("parameters", parameters)
    run.score("quantised_share", share)
    run.score("ratio", before / after)
    run.write(record)
