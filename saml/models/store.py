"""Models on disk: weights as safetensors, and a small JSON that says how to build the network for them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from saml import __version__
from saml.models.build import rebuild
from saml.models.recogniser import Recogniser, as_module
from saml.runtime.errors import SamlError, about, is_out_of_memory
from saml.runtime.files import read_json_object, write_atomically

FORMAT = 1
# How networks fill their weights at random: methods, and functions of torch.nn.init. By name: transformers
# puts others of the same names in their place.
_DRAWING = frozenset(
    ["normal_", "uniform_", "trunc_normal_", "orthogonal_"]
    + [f"{who}_{how}_" for who in ("kaiming", "xavier") for how in ("normal", "uniform")]
)


def full_state(recogniser: Recogniser) -> dict[str, Tensor]:
    """Parameters and buffers that are stored, on the CPU."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in stored(recogniser).items()}


def stored(recogniser: Recogniser) -> dict[str, Tensor]:
    """The model's own parameters and buffers that are stored: each tied one once, none that is computed."""
    seen: dict[int, str] = {}
    kept = {}
    for name, tensor in as_module(recogniser).state_dict(keep_vars=True).items():
        tied = seen.setdefault(id(tensor), name) != name
        if not tied and name not in recogniser.computed and not name.endswith("num_batches_tracked"):
            kept[name] = tensor
    return kept


def save_model(
    recogniser: Recogniser,
    weights: Path,
    description: Path,
    *,
    quantisation: Mapping[str, Any] | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model: its full state, or packed tensors with the settings of their quantisation."""
    tensors = dict(full_state(recogniser) if state is None else state)
    data = save(tensors)
    write_atomically(weights, data)
    content = {
        "format": FORMAT,
        "saml": __version__,
        "precision": "fp32" if quantisation is None else "nf4",
        "quantisation": None if quantisation is None else dict(quantisation),
        "sha256": hashlib.sha256(data).hexdigest(),
        **recogniser.describe(),
    }
    write_atomically(description, (json.dumps(content, indent=2) + "\n").encode())


def load_model(weights: Path, description: Path) -> tuple[Recogniser, dict[str, Any]]:
    """A recogniser in evaluation mode, NF4 weights de-quantised once to float32, and its description.

    Raises SamlError when a file is missing or damaged, or weights and description do not belong together.
    """
    content = read_description(description)
    with as_described(description, weights):
        state = read_tensors(weights, content["sha256"])
        with _NothingDrawn():
            recogniser = rebuild(content)
        if content["precision"] == "nf4":
            state = _dequantise(recogniser, state, content["quantisation"])
    _fill(recogniser, state, weights)
    as_module(recogniser).eval()
    return recogniser, content


def read_description(path: Path) -> dict[str, Any]:
    """The JSON beside a model or adapter. Raises SamlError when it is missing or is not one of ours."""
    content = read_json_object(path, "make it again")
    if content.get("format") != FORMAT:
        raise SamlError(f"{path}: not a description of format {FORMAT}; made by another version of saml?")
    return content


@contextmanager
def as_described(path: Path, weights: Path) -> Iterator[None]:
    """What goes wrong inside for want of a key, or with a senseless value, is the fault of this description.

    Raises SamlError, naming it; so does a SamlError that names neither it nor the `weights`.
    """
    try:
        with about(path, weights):
            yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise SamlError(f"{path}: does not describe these weights ({error!r:.200}); make it again") from None


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose bytes have the checksum `sha256`.

    Raises SamlError when the file is missing, damaged or another one than described.
    """
    if not path.exists():
        raise SamlError(f"{path}: no such file")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise SamlError(f"{path}: checksum differs from its description: damaged or replaced; make it again")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise SamlError(f"{path}: not a safetensors file ({error}); make it again") from None


def _dequantise(
    recogniser: Recogniser, state: dict[str, Tensor], quantisation: Mapping[str, Any]
) -> dict[str, Tensor]:
    from saml.models.nf4 import quantisable, unpack

    own = as_module(recogniser).state_dict()
    unpacked = {
        name: unpack(state, name, own[name].shape, **quantisation) for name in quantisable(recogniser)
    }
    plain = {
        name: tensor
        for name, tensor in state.items()
        if name not in unpacked and name.removesuffix(".absmax").removesuffix(".scales") not in unpacked
    }
    return {**plain, **unpacked}


class _NothingDrawn(TorchFunctionMode):
    """Networks that are built meanwhile start with whatever is in memory: `_fill` writes all of it.

    To draw numbers for the weights took half of the time that loading takes.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") in _DRAWING:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@torch.no_grad()
def _fill(recogniser: Recogniser, state: Mapping[str, Tensor], path: Path) -> None:
    expected = full_state(recogniser)
    for name in sorted(expected.keys() ^ state.keys()):
        raise SamlError(
            f"{path}: tensor {name!r} is {'missing' if name in expected else 'not of this model'}"
        )
    own = as_module(recogniser).state_dict()
    for name, tensor in state.items():
        if own[name].shape != tensor.shape:
            raise SamlError(
                f"{path}: tensor {name!r} has shape {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            )
        own[name].copy_(tensor)
