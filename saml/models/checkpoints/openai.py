"""A Whisper in OpenAI's own format, a `.pt` with `dims` and `model_state_dict`, in transformers' names."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from saml.models.checkpoints.weight_files import load_pickled
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


def read_openai_config(path: Path) -> dict[str, Any]:
    """The configuration, as transformers would write it; weights are not read.

    Raises SamlError where the file is damaged or holds something else.
    """
    return _read(path)[0]


def read_openai(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration, as transformers would write it, and the weights, float32 under transformers' names.

    Nothing is unpickled but tensors and plain values.

    Raises SamlError where the file is damaged or holds something else.
    """
    config, weights = _read(path)
    return config, {_name(name): tensor.float() for name, tensor in weights.items()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    content = load_pickled(path)
    if not isinstance(content, Mapping) or not {"dims", "model_state_dict"} <= content.keys():
        raise SamlError(
            f"{path}: not a Whisper as OpenAI publishes them ({_found(content)}); name a folder "
            "that transformers' save_pretrained wrote, or hf://<owner>/<name>"
        )
    try:
        return _config(content["dims"]), dict(content["model_state_dict"])
    except (KeyError, TypeError, ValueError) as error:
        raise SamlError(f"{path}: not a Whisper as OpenAI publishes them ({error})") from None


def _found(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it holds a {type(content).__name__}"
    keys = ", ".join(str(key) for key in list(content)[:3])
    return f"it has no dims and model_state_dict, but {keys or 'nothing'}"


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
