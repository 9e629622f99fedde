"""Whether files of weights are whole, by their headers and sizes: the tensors themselves are not read."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from saml.models.checkpoints.files import Weights, shards_by_tensor
from saml.runtime.errors import SamlError, is_out_of_memory

_OF_WHISPER = "encoder.embed_positions.weight"  # the end of a name that every Whisper's weights have


def check_weights(weights: Weights, remedy: str) -> None:
    """Look at the headers of a checkpoint's weights.

    Raises SamlError, ending with `remedy`, where a file is cut short or damaged, or lacks a tensor that the
    index says it has, and where the weights are no Whisper's.
    """
    names = {path: _names_in(path, remedy) for path in weights.files}
    if weights.index is not None:
        for tensor, shard in shards_by_tensor(weights.index).items():
            path = weights.index.with_name(shard)
            if tensor not in names[path]:
                raise SamlError(f"{path}: has no tensor {tensor}, which {weights.index.name} lists; {remedy}")
    everything = sorted(name for of_file in names.values() for name in of_file)
    if not any(name.endswith(_OF_WHISPER) for name in everything):
        found = f"the first tensor is {everything[0]}" if everything else "there is no tensor"
        raise SamlError(f"{weights.files[0]}: not the weights of a Whisper ({found})")


def load_pickled(path: Path, remedy: str = "copy or download it again") -> Any:
    """What is in a file of torch's, on the CPU; nothing is unpickled but tensors and plain values.

    Tensors stay in the file until they are used, unless it is of a torch before 1.6.

    Raises SamlError, ending with `remedy`, where the file is cut short or damaged, or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except pickle.UnpicklingError:  # its message advises to unpickle whatever is in there
        raise SamlError(
            f"{path}: holds other objects than tensors, or is damaged; name a checkpoint in safetensors, or "
            f"{remedy}"
        ) from None
    except (OSError, EOFError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise SamlError(f"{path}: truncated or damaged ({_line(error)}); {remedy}") from None


def _names_in(path: Path, remedy: str) -> set[str]:
    if path.suffix == ".safetensors":
        try:
            # For torch the whole file would count as memory that may be written to.
            with safe_open(path, framework="numpy") as file:
                return set(file.keys())
        except SafetensorError as error:
            size = path.stat().st_size
            raise SamlError(
                f"{path}: truncated or damaged safetensors of {size} bytes ({_line(error)}); {remedy}"
            ) from None
    content = load_pickled(path, remedy)
    if not isinstance(content, Mapping):
        raise SamlError(f"{path}: holds a {type(content).__name__}, not tensors by name; {remedy}")
    return set(map(str, content))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
