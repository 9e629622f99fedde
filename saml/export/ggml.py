"""A model as one file of whisper.cpp's: GGML as that program reads it, 16 bits or quantised.

The file is: a magic number and the sizes (int32); the mel filters; the tokens of ordinary text as bytes; then
the tensors under OpenAI's names, each with the number of its dimensions, the length of its name, its type,
its dimensions (the last first), its name, its values. Biases, norms and positions are in 32 bits,
convolutions in 16; all other matrices in 16, or in blocks of 32 integers with a scale (by the `gguf` library,
of llama.cpp).
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from saml.compat.torchaudio import ensure
from saml.export.extra import needed
from saml.models.tokenisers.byte_level import WhisperTokeniser
from saml.models.whisper import WhisperRecogniser
from saml.runtime.files import write_atomically

ensure()
from transformers import WhisperFeatureExtractor  # noqa: E402

_MAGIC = 0x67676D6C
_FLOAT32, _FLOAT16 = 0, 1
# Of quantised files: what stands in the place of the type of the whole file, and in that of a tensor.
_QUANTISED = {"q4_0": (2, 2), "q5_0": (8, 6), "q8_0": (7, 8)}
# The version of the blocks' layout, which the type of the whole file carries in its thousands.
_VERSION = 2000
_BLOCK = 32
QUANTISATIONS = tuple(_QUANTISED)

# transformers' names to OpenAI's, in this order.
_RENAMES = (
    (r"^model\.", ""),
    (r"\.embed_positions\.weight$", ".positional_embedding"),
    (r"\.embed_tokens\.", ".token_embedding."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
)


def write_ggml(recogniser: WhisperRecogniser, path: Path, quantise: str | None) -> None:
    """Write the file; `quantise` is one of `QUANTISATIONS`, or None for 16 bits.

    Raises SamlError where gguf, which quantises, is not installed.
    """
    parts = [_head(recogniser, quantise), _filters(recogniser), _tokens(recogniser)]
    parts += [_tensor(name, values, quantise) for name, values in _weights(recogniser)]
    write_atomically(path, b"".join(parts))


def openai_name(name: str) -> str:
    """The name that OpenAI gives a tensor of transformers' Whisper."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _head(recogniser: WhisperRecogniser, quantise: str | None) -> bytes:
    config = recogniser.network.config
    kind = _FLOAT16 if quantise is None else _VERSION + _QUANTISED[quantise][0]
    sizes = (
        config.vocab_size,
        config.max_source_positions,
        config.d_model,
        config.encoder_attention_heads,
        config.encoder_layers,
        config.max_target_positions,
        config.d_model,
        config.decoder_attention_heads,
        config.decoder_layers,
        config.num_mel_bins,
        kind,
    )
    return struct.pack(f"<{1 + len(sizes)}i", _MAGIC, *sizes)


def _filters(recogniser: WhisperRecogniser) -> bytes:
    """The mel filters `(bins, frequencies)`."""
    bins = recogniser.settings["features"]["bins"]
    filters = np.asarray(WhisperFeatureExtractor(feature_size=bins).mel_filters, dtype="<f4").T
    return struct.pack("<2i", *filters.shape) + np.ascontiguousarray(filters).tobytes()


def _tokens(recogniser: WhisperRecogniser) -> bytes:
    """The tokens of ordinary text in the order of their ids; whisper.cpp adds the special ones itself."""
    tokeniser = recogniser.tokeniser
    assert isinstance(tokeniser, WhisperTokeniser)
    letters = {letter: byte for byte, letter in bytes_to_unicode().items()}
    ids = Tokenizer.from_str(tokeniser.to_json()).get_vocab(with_added_tokens=True)
    ordinary = sorted((index, token) for token, index in ids.items() if index < tokeniser.end)
    texts = [bytes(letters[letter] for letter in token) for _, token in ordinary]
    return struct.pack("<i", len(texts)) + b"".join(struct.pack("<i", len(text)) + text for text in texts)


def _weights(recogniser: WhisperRecogniser) -> Iterator[tuple[str, Any]]:
    for name, tensor in recogniser.network.state_dict().items():
        if name != "proj_out.weight":  # tied to the embedding
            values = tensor.detach().cpu().float().numpy()
            # whisper.cpp adds the biases of convolutions to columns.
            column = re.fullmatch(r"model\.encoder\.conv\d\.bias", name)
            yield openai_name(name), values[:, None] if column else values


def _tensor(name: str, values: Any, quantise: str | None) -> bytes:
    kind, data = _FLOAT32, values
    if values.ndim > 1 and not name.endswith(("positional_embedding", ".bias")):
        if quantise is not None and values.ndim == 2 and values.shape[1] % _BLOCK == 0:
            kind, data = _QUANTISED[quantise][1], _quantised(values, quantise)
        else:
            kind, data = _FLOAT16, values.astype("<f2")
    label = name.encode()
    dimensions = values.shape[::-1]
    head = struct.pack(f"<{3 + len(dimensions)}i", len(dimensions), len(label), kind, *dimensions)
    return head + label + np.ascontiguousarray(data).tobytes()


def _quantised(values: Any, quantise: str) -> Any:
    gguf = needed("gguf")
    return gguf.quants.quantize(values, getattr(gguf.GGMLQuantizationType, quantise.upper()))
