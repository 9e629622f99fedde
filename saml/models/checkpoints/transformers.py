"""A base model that somebody else trained, in any of the formats that are read: settings and weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from saml.compat.torchaudio import ensure
from saml.models.checkpoints.ctranslate2 import read_ctranslate2, read_ctranslate2_config
from saml.models.checkpoints.files import CONFIG, GENERATION, VOCABULARY, find_weights, in_folder
from saml.models.checkpoints.openai import read_openai, read_openai_config
from saml.models.checkpoints.source import again, checkpoint_path
from saml.models.checkpoints.weight_files import check_weights
from saml.models.recogniser import Tokeniser
from saml.models.tokenisers.byte_level import WhisperTokeniser
from saml.models.tokenisers.characters import CharacterTokeniser, tokeniser_of_vocabulary
from saml.models.whisper import WhisperRecogniser, sinusoids
from saml.runtime.errors import SamlError, about
from saml.runtime.files import read_json_object

ensure()
from transformers import WhisperForConditionalGeneration  # noqa: E402

from saml.models.checkpoints.tokeniser_files import read_tokenizer  # noqa: E402

_ENCODER_POSITIONS = "model.encoder.embed_positions.weight"
_TOLERANCE = 1e-3  # of encoder positions: more is not rounding
# What a Whisper has in its config.json; a network with anything else would compute something else.
_EXPECTED: dict[str, Any] = {
    "model_type": "whisper",
    "activation_function": "gelu",
    "scale_embedding": False,
    "tie_word_embeddings": True,
}
_OPTIONAL = ("activation_function", "scale_embedding", "tie_word_embeddings")  # transformers' defaults
_ENGLISH_ONLY = 51864  # token ids of Whisper's English-only models; the others have more


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says of itself: settings as of `WhisperRecogniser`, and its tokeniser.

    `rounded` is the integer type (int8, int16) that its weights were rounded to, None where they were not.
    """

    path: Path
    settings: dict[str, Any]
    tokeniser: Tokeniser
    rounded: str | None = None

    @property
    def caution(self) -> str | None:
        """What whoever uses the checkpoint ought to know of its weights."""
        if self.rounded is None:
            return None
        return (
            f"the base is {self.rounded}: its weights are rounded; full precision is that of the "
            f"{self.rounded} model"
        )


def open_checkpoint(model: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint that a config's `model` section names; of its weights only names and sizes are read yet.

    Sizes of the network are the checkpoint's own. What data preparation needs before there is a model must
    stand in the config too, and is compared: `characters` (null for Whisper's own vocabulary) and `features`.

    Raises SamlError where the checkpoint is missing or damaged, is not a Whisper of ours, or does not fit the
    config.
    """
    path = checkpoint_path(model)
    named = path if path.is_file() else path / CONFIG
    config = _config(path)
    _expect(config, _EXPECTED, named)
    own = model[model["family"]]
    if own["characters"] is None:
        tokeniser: Tokeniser = _own_tokeniser(path, config, lower=own["text_style"] == "plain")
    else:
        tokeniser = _characters(path)
    _expect(config, _tokens(config, tokeniser), named)
    if config["encoder_attention_heads"] != config["decoder_attention_heads"]:
        raise SamlError(f"{named}: encoder and decoder differ in their heads, and may not")
    if tokeniser.size != config["vocab_size"]:
        raise SamlError(f"{path}: {VOCABULARY} has {tokeniser.size} tokens, not {config['vocab_size']}")
    settings = _settings(config, tokeniser)
    _compare(own, settings, path)
    if not (path.is_file() or _is_ctranslate2(path)):  # whose sizes are those of the weights
        check_weights(find_weights(in_folder(path)), again(path))
    # Not the checkpoint's to say.
    settings["features"] |= {"tail_seconds": own["features"]["tail_seconds"]}
    return Checkpoint(path, settings, tokeniser, config.get("rounded") if _is_ctranslate2(path) else None)


def mel_bins(model: Mapping[str, Any]) -> int:
    """The mel bins of the checkpoint that a config's `model` section names: 80, of the newest 128.

    Raises SamlError as `open_checkpoint`.
    """
    path = checkpoint_path(model)
    found = _config(path).get("num_mel_bins")
    if type(found) is not int:
        raise SamlError(f"{path}: its configuration has no num_mel_bins, so it is no Whisper")
    return found


def _is_ctranslate2(path: Path) -> bool:
    return path.is_dir() and find_weights(in_folder(path)).ctranslate2


def _config(path: Path) -> dict[str, Any]:
    """The configuration under transformers' names, whatever the format."""
    if path.is_file():
        return read_openai_config(path)
    return (
        read_ctranslate2_config(path, again(path))
        if _is_ctranslate2(path)
        else read_json_object(path / CONFIG)
    )


def _characters(path: Path) -> CharacterTokeniser:
    if path.is_file() or _is_ctranslate2(path):
        raise SamlError(f"{path}: its tokens are no characters; say model.whisper.characters: null")
    vocabulary = read_json_object(path / VOCABULARY)
    try:
        return tokeniser_of_vocabulary(vocabulary)
    except SamlError as error:
        raise SamlError(f"{path / VOCABULARY}: {error}") from None


def _own_tokeniser(path: Path, config: Mapping[str, Any], *, lower: bool) -> WhisperTokeniser:
    """Whisper's own tokeniser, and what the checkpoint says of decoding."""
    folder = path.parent if path.is_file() else path
    said = read_json_object(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    size = config["vocab_size"]
    # What CTranslate2's own configuration says holds for it, whatever else lies there.
    sources = (config, said) if _is_ctranslate2(path) else (said, config)

    def suppressed(key: str) -> list[int]:
        return sources[0].get(key) or sources[1].get(key) or []

    with about(folder):
        return WhisperTokeniser(
            read_tokenizer(folder, size),
            size=size,
            multilingual=said.get("is_multilingual", size > _ENGLISH_ONLY),
            lower=lower,
            never=suppressed("suppress_tokens"),
            never_first=suppressed("begin_suppress_tokens"),
        )


def _tokens(config: Mapping[str, Any], tokeniser: Tokeniser) -> dict[str, int]:
    """The special tokens that a configuration must have, if it names any: a `.pt` does not."""
    if "decoder_start_token_id" not in config and isinstance(tokeniser, WhisperTokeniser):
        return {}
    wanted = {"decoder_start_token_id": tokeniser.prompt[0], "eos_token_id": tokeniser.end}
    # Published Whispers do not agree on padding, which nothing here looks at.
    return wanted if isinstance(tokeniser, WhisperTokeniser) else {"pad_token_id": tokeniser.pad, **wanted}


def _expect(config: Mapping[str, Any], wanted: Mapping[str, Any], named: Path) -> None:
    for key, value in wanted.items():
        found = config.get(key, value if key in _OPTIONAL else None)
        if found != value:
            raise SamlError(f"{named}: {key} is {found!r}, and only {value!r} can be read")


def read_recogniser(checkpoint: Checkpoint) -> WhisperRecogniser:
    """The checkpoint's recogniser, float32 whatever the file holds.

    Raises SamlError where the weights are damaged, incomplete, not finite or of another network.
    """
    path = checkpoint.path
    state = _state(path)
    _refuse_infinite(state, path)
    if _ENCODER_POSITIONS not in state:
        raise SamlError(f"{path}: tensor {_ENCODER_POSITIONS} is missing")
    positions = state.pop(_ENCODER_POSITIONS)
    settings = {**checkpoint.settings, "positions": _rounding(positions, path)}
    recogniser = WhisperRecogniser(settings, checkpoint.tokeniser)
    _refuse_misfits(recogniser, state, path)
    recogniser.network.load_state_dict(state, strict=False)  # all but the positions, which are computed
    recogniser.eval()
    return recogniser


def _state(path: Path) -> dict[str, Tensor]:
    """The weights under transformers' names, whatever the format."""
    if path.is_file():
        return read_openai(path)[1]
    return read_ctranslate2(path, again(path)) if _is_ctranslate2(path) else _weights(path)


def _settings(config: Mapping[str, Any], tokeniser: Tokeniser) -> dict[str, Any]:
    """transformers' names to ours."""
    return {
        "characters": tokeniser.characters if isinstance(tokeniser, CharacterTokeniser) else None,
        "hidden_size": config["d_model"],
        "encoder_layers": config["encoder_layers"],
        "decoder_layers": config["decoder_layers"],
        "heads": config["encoder_attention_heads"],
        "encoder_feed_forward": config["encoder_ffn_dim"],
        "decoder_feed_forward": config["decoder_ffn_dim"],
        "max_target_positions": config["max_target_positions"],
        "dropout": config["dropout"],
        "ctc_head": False,
        "features": {
            "bins": config["num_mel_bins"],
            "pad_seconds": config["max_source_positions"] / 50,  # 10 ms a frame, two to a position
        },
    }


def _compare(wanted: Mapping[str, Any], found: Mapping[str, Any], folder: Path) -> None:
    """Refuse a config whose data would not suit the checkpoint."""
    for key in ("bins", "pad_seconds"):
        if wanted["features"][key] != found["features"][key]:
            raise SamlError(
                f"model.whisper.features.{key}: {wanted['features'][key]}, but the checkpoint {folder} wants "
                f"{found['features'][key]:g}; write that"
            )
    if set(wanted["characters"] or "") != set(found["characters"] or ""):
        raise SamlError(
            f"model.whisper.characters: {wanted['characters']!r}, but the checkpoint {folder} has "
            f"{found['characters']!r}; write those"
        )


def _weights(folder: Path) -> dict[str, Tensor]:
    pickled = find_weights(in_folder(folder)).pickled
    try:
        loaded: Any = WhisperForConditionalGeneration.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=not pickled,
            weights_only=True,  # of torch's own files: nothing is unpickled but tensors
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        raise SamlError(f"{folder}: cannot read these weights ({message})") from None
    network, report = loaded
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        for name in sorted(map(str, report[kind])):
            raise SamlError(f"{folder}: tensor {name} is among the {kind.replace('_', ' ')} of these weights")
    state: dict[str, Tensor] = network.state_dict()
    return state


def _refuse_infinite(state: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise SamlError(f"{path}: tensor {name} is not finite")


def _refuse_misfits(recogniser: WhisperRecogniser, state: Mapping[str, Tensor], path: Path) -> None:
    """Raise SamlError, naming it, for a tensor that is missing, left over or of another shape."""
    own = recogniser.network.state_dict()
    computed = {_ENCODER_POSITIONS, "proj_out.weight"}  # the last is tied to the embedding
    for name in sorted((own.keys() ^ state.keys()) - computed):
        raise SamlError(f"{path}: tensor {name} is {'missing' if name in own else 'left over'}")
    for name, tensor in state.items():
        if own[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            raise SamlError(f"{path}: tensor {name} has shape {shapes}")


def _rounding(positions: Tensor, folder: Path) -> str:
    """The float type that the stored encoder positions were rounded to: they are computed, not kept."""
    errors = {
        name: (sinusoids(*positions.shape, rounded_to=name) - positions).abs()
        for name in ("float32", "float16", "bfloat16")
    }
    # By the mean: a value here and there may have been rounded the other way.
    best = min(errors, key=lambda name: float(errors[name].mean()))
    if not errors[best].max() <= _TOLERANCE:  # nor where it is not a number
        raise SamlError(f"{folder}: the encoder's positions are not Whisper's sinusoids, as they must be")
    return best
