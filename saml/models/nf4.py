"""NF4 in and out of a model: packed 4-bit codes and block scales, through bitsandbytes.

Every linear, convolution and token-embedding weight is quantised; biases, norms and positions stay as they
are (docs/paper.md, The same). Stored is what bitsandbytes makes, so what is read back equals its own
de-quantisation bit for bit:

    <name>          uint8, two codes a byte
    <name>.absmax   one scale a block: float32, or uint8 when the scales are quantised too ("double")
    <name>.scales   double only: float32, the mean of the scales, then one scale per 256 blocks
"""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from saml.models.recogniser import Recogniser, as_module
from saml.runtime.devices import one_thread
from saml.runtime.errors import SamlError

# On a CPU it warns that it lacks a compiled 4-bit product, which nothing here needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
import bitsandbytes.functional as bnb  # noqa: E402

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
    """The stored tensors of one weight, by name (see the module's head).

    They are the same bytes with any number of threads: adapters know their model by its checksum.
    """
    with one_thread():
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
    codes, absmax = _read(stored, name, shape, block_size=block_size, double=double)
    return _values(codes, absmax, shape, block_size)


class Packed(nn.Module):
    """A weight `(rows, columns)` that stays packed; rows of it are de-quantised when they are asked for.

    Its tensors are no part of a network's state: they come from the file, and nothing changes them.
    """

    codes: Tensor
    absmax: Tensor

    def __init__(self, codes: Tensor, absmax: Tensor, shape: torch.Size, block_size: int) -> None:
        """The codes `(rows, columns / 2)` uint8, and the scale of each block, `(rows, columns / block)`."""
        super().__init__()
        self.register_buffer("codes", codes.view(shape[0], -1), persistent=False)
        self.register_buffer("absmax", absmax.view(shape[0], -1), persistent=False)
        self._columns, self._block_size = shape[1], block_size

    def rows(self, start: int, stop: int) -> Tensor:
        """The float32 rows from `start` to `stop`, `(stop - start, columns)`."""
        return self._values(self.codes[start:stop], self.absmax[start:stop])

    def chosen(self, rows: Tensor) -> Tensor:
        """The float32 rows with the indices `(chosen,)`: `(chosen, columns)`."""
        return self._values(self.codes[rows], self.absmax[rows])

    def _values(self, codes: Tensor, absmax: Tensor) -> Tensor:
        shape = torch.Size((len(codes), self._columns))
        return _values(codes.flatten(), absmax.flatten(), shape, self._block_size)


def keep(
    stored: Mapping[str, Tensor], name: str, shape: torch.Size, *, block_size: int, double: bool
) -> Packed | None:
    """The weight that `pack` stored as `name`, still packed; None where a row is not of whole blocks.

    Raises SamlError as `unpack` does.
    """
    if shape[1] % block_size:
        return None
    codes, absmax = _read(stored, name, shape, block_size=block_size, double=double)
    return Packed(codes, absmax, shape, block_size)


def _read(
    stored: Mapping[str, Tensor], name: str, shape: torch.Size, *, block_size: int, double: bool
) -> tuple[Tensor, Tensor]:
    """The codes and the float32 scales of a stored weight."""
    blocks = -(-shape.numel() // block_size)
    absmax_type = torch.uint8 if double else torch.float32
    codes = _stored(stored, name, torch.uint8, -(-shape.numel() // 2))
    absmax = _stored(stored, f"{name}.absmax", absmax_type, blocks)
    if double:
        scales = _stored(stored, f"{name}.scales", torch.float32, 1 + -(-blocks // _NESTED_BLOCK))
        absmax = _scales(absmax, scales)
    return codes, absmax


def _scales(absmax: Tensor, scales: Tensor) -> Tensor:
    """The scale of each block, from scales that are quantised themselves."""
    nested = bnb.QuantState(
        absmax=scales[1:].contiguous(),
        blocksize=_NESTED_BLOCK,
        code=bnb.create_dynamic_map().to(absmax.device),
        dtype=torch.float32,
    )
    return bnb.dequantize_blockwise(absmax, nested) + scales[0]


def _values(codes: Tensor, absmax: Tensor, shape: torch.Size, block_size: int) -> Tensor:
    """The float32 weight of `shape`, by bitsandbytes."""
    state = bnb.QuantState(
        absmax=absmax,
        shape=shape,
        blocksize=block_size,
        code=bnb.get_4bit_type("nf4", device=codes.device),
        quant_type="nf4",
        dtype=torch.float32,
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
