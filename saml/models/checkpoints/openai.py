"""A Whisper in OpenAI's own format, a `.pt` with `dims` and `model_state_dict`, in transformers' names."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saml.runtime.errors import SamlError

# Their names to transformers', in this order; what is not here is called alike.
_RENAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^(encoder|decoder)\.", r"model.\1."),
    (r"\.positional_embedding$", r".embed_positions.weight"),
    (r"\.token_embedding\.", r".embed_tokens."),
    (r"\.(ln_post|ln)\.", r".layer_norm."),
    (r"\.blocks\.", r".layers."),
    (r"\.attn_ln\.", r".self_attn_layer_norm."),
    (r"\.cross_attn_ln\.", r".encoder_attn_layer_norm."),
    (r"\.mlp_ln\.", r".final_layer_norm."),
    (r"\.attn\.", r".self_attn."),
    (r"\.cross_attn\.", r".encoder_attn."),
    (r"\.(query|key|value)\.", lambda match: f".{match[1][0]}_proj."),
    (r"attn\.out\.", r"attn.out_proj."),
    (r"\.mlp\.0\.", r".fc1."),
    (r"\.mlp\.2\.", r".fc2."),
)


def read_openai(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration, as transformers would write it, and the weights, float32 under transformers' names.

    Nothing is unpickled but tensors and plain values.

    Raises SamlError where the file is damaged or holds something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        dims, weights = dict(content["dims"]), dict(content["model_state_dict"])
        config = _config(dims)
    except (
        OSError,
        EOFError,
        RuntimeError,
        pickle.UnpicklingError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        message = (str(error).splitlines() or [""])[0]
        raise SamlError(f"{path}: not a Whisper as OpenAI publishes them ({message})") from None
    return config, {_name(name): tensor.float() for name, tensor in weights.items()}


def _config(dims: dict[str, int]) -> dict[str, Any]:
    if dims["n_audio_state"] != dims["n_text_state"]:
        raise ValueError("encoder and decoder differ in width")
    width = dims["n_audio_state"]
    return {
        "model_type": "whisper",
        "vocab_size": dims["n_vocab"],
        "num_mel_bins": dims["n_mels"],
        "d_model": width,
        "encoder_layers": dims["n_audio_layer"],
        "decoder_layers": dims["n_text_layer"],
        "encoder_attention_heads": dims["n_audio_head"],
        "decoder_attention_heads": dims["n_text_head"],
        "encoder_ffn_dim": 4 * width,
        "decoder_ffn_dim": 4 * width,
        "max_source_positions": dims["n_audio_ctx"],
        "max_target_positions": dims["n_text_ctx"],
        "dropout": 0.0,
    }


def _name(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name
