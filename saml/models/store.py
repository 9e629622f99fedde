"""Models on disk: weights as safetensors, a small JSON that says how to build the network, the tokeniser."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from saml import __version__
from saml.models.build import rebuild
from saml.models.recogniser import BaseRecogniser, Recogniser, Tokeniser, as_module
from saml.models.tokenisers.kinds import tokeniser_of
from saml.runtime.errors import SamlError, about, is_out_of_memory
from saml.runtime.files import read_json_object, write_atomically

FORMAT = 1
REMEDY = "run the stage that writes it again"
TOKENIZER = "tokenizer.json"  # beside a model's description
_COUNTERS = "num_batches_tracked"  # of batch norms, which nothing here reads


def full_state(recogniser: Recogniser) -> dict[str, Tensor]:
    """Parameters and buffers that are stored, on the CPU."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in stored(recogniser).items()}


def stored(recogniser: Recogniser) -> dict[str, Tensor]:
    """The model's own parameters and buffers that are stored: each tied one once, none that is computed."""
    seen: dict[int, str] = {}
    kept = {}
    for name, tensor in as_module(recogniser).state_dict(keep_vars=True).items():
        tied = seen.setdefault(id(tensor), name) != name
        if not tied and name not in recogniser.computed and not name.endswith(_COUNTERS):
            kept[name] = tensor
    return kept


def save_model(
    recogniser: Recogniser,
    weights: Path,
    description: Path,
    *,
    quantisation: Mapping[str, Any] | None = None,
    state: Mapping[str, Tensor] | None = None,
    longest_seconds: float | None = None,
) -> None:
    """Write a model: its full state, or packed tensors with the settings of their quantisation.

    `longest_seconds` is the longest utterance that it was trained on, where it was trained here. The
    tokeniser goes beside the description, as tokenizer.json.
    """
    tensors = dict(full_state(recogniser) if state is None else state)
    data = save(tensors)
    write_atomically(weights, data)
    content = {
        "format": FORMAT,
        "saml": __version__,
        "precision": "fp32" if quantisation is None else "nf4",
        "quantisation": None if quantisation is None else dict(quantisation),
        "sha256": hashlib.sha256(data).hexdigest(),
        **({} if longest_seconds is None else {"longest_seconds": longest_seconds}),
        **recogniser.describe(),
    }
    write_atomically(description.with_name(TOKENIZER), recogniser.tokeniser.to_json().encode())
    write_atomically(description, (json.dumps(content, indent=2) + "\n").encode())


def load_model(
    weights: Path, description: Path, *, packed: bool = False
) -> tuple[Recogniser, dict[str, Any]]:
    """A recogniser in evaluation mode, NF4 weights de-quantised once to float32, and its description.

    With `packed`, those of linear layers and embeddings stay packed (see `saml.models.packed`).

    Raises SamlError when a file is missing or damaged, or weights and description do not belong together.
    """
    refuse_missing(weights)
    content = read_description(description)
    if packed and content.get("precision") != "nf4":
        raise SamlError(f"{weights}: is in full precision; only a model in NF4 has packed weights")
    tokenizer = description.with_name(TOKENIZER)
    with as_described(description, weights, tokenizer):
        tokeniser = read_tokeniser(tokenizer, content["tokeniser"])
        state = read_tensors(weights, content["sha256"])
        with torch.device("meta"):  # neither memory nor random numbers for weights that are read
            recogniser = rebuild(content, tokeniser)
        if content["precision"] == "nf4":
            state = _dequantise(recogniser, state, content["quantisation"], packed=packed)
    _fill(recogniser, state, weights)
    as_module(recogniser).eval()
    return recogniser, content


def read_tokeniser(path: Path, description: Mapping[str, Any]) -> Tokeniser:
    """The tokeniser in the file beside a model's description, which has `description` of it.

    Raises SamlError where the file is missing, is another one than described or is damaged.
    """
    content = _described_bytes(path, description["sha256"])
    with about(path):
        return tokeniser_of(description, content.decode())


def read_description(path: Path) -> dict[str, Any]:
    """The JSON beside a model or adapter. Raises SamlError when it is missing or is not one of ours."""
    content = read_json_object(path, REMEDY)
    if content.get("format") != FORMAT:
        raise SamlError(
            f"{path}: not a description of format {FORMAT}; made by another version of saml? If so, {REMEDY}"
        )
    return content


@contextmanager
def as_described(path: Path, *others: Path) -> Iterator[None]:
    """What goes wrong inside for want of a key, or with a senseless value, is the fault of this description.

    Raises SamlError, naming it; so does a SamlError that names neither it nor one of the `others`.
    """
    try:
        with about(path, *others):
            yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise SamlError(f"{path}: does not describe these weights ({error!r:.200}); {REMEDY}") from None


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose bytes have the checksum `sha256`.

    Raises SamlError when the file is missing, damaged or another one than described.
    """
    _described_bytes(path, sha256)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise SamlError(f"{path}: not a safetensors file ({error}); {REMEDY}") from None


def refuse_missing(path: Path) -> None:
    """Raise SamlError for a file that does not exist."""
    if not path.exists():
        raise SamlError(f"{path}: no such file; {REMEDY}")


def _described_bytes(path: Path, sha256: str) -> bytes:
    refuse_missing(path)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SamlError(f"{path}: checksum differs from its description: damaged or replaced; {REMEDY}")
    return data


def _dequantise(
    recogniser: Recogniser, state: dict[str, Tensor], quantisation: Mapping[str, Any], *, packed: bool
) -> dict[str, Tensor]:
    """What the network is to be filled with; with `packed` it has got the other weights."""
    # Imported here for start-up: bitsandbytes takes a second, and full-precision models do without.
    from saml.models.nf4 import quantisable, unpack
    from saml.models.packed import keep_packed

    own = {name: tensor.shape for name, tensor in as_module(recogniser).state_dict().items()}
    quantised = quantisable(recogniser)
    kept = keep_packed(recogniser, state, **quantisation) if packed else set()
    unpacked = {
        name: unpack(state, name, own[name], **quantisation) for name in quantised if name not in kept
    }
    plain = {
        name: tensor
        for name, tensor in state.items()
        if name.removesuffix(".absmax").removesuffix(".scales") not in quantised
    }
    return {**plain, **unpacked}


def _fill(recogniser: BaseRecogniser, state: Mapping[str, Tensor], path: Path) -> None:
    """Give a network that was built on the meta device its values, and tie the weights that it ties.

    Raises SamlError where they do not fit.
    """
    expected = stored(recogniser)
    for name in sorted(expected.keys() ^ state.keys()):
        raise SamlError(
            f"{path}: tensor {name!r} is {'missing' if name in expected else 'not of this model'}"
        )
    for name, tensor in state.items():
        if expected[name].shape != tensor.shape:
            raise SamlError(
                f"{path}: tensor {name!r} has shape {tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
            )
    module = as_module(recogniser)
    # Copies: what was read may lie in the file's own pages, where it is not aligned as torch's memory is.
    values = {name: tensor.to(expected[name].dtype, copy=True) for name, tensor in state.items()}
    values |= {
        name: torch.zeros((), dtype=torch.long) for name in module.state_dict() if name.endswith(_COUNTERS)
    }
    module.load_state_dict(values, strict=False, assign=True)  # all but tied and computed tensors
    # Packed embeddings have no parameters: the output layer shares their packed weight already.
    if list(recogniser.network.get_input_embeddings().parameters()):
        recogniser.network.tie_weights()
    recogniser.fill_computed()
