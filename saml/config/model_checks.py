"""Checks of the sections about the model, and of the training and decoding settings that depend on it.

Like those of `saml.config.checks`: each takes a configuration that has passed the schema and yields messages.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from saml.config.settings import ARM_SECTIONS
from saml.models.checkpoints.source import is_given
from saml.models.lengths import has_ctc_head

Config = Mapping[str, Any]


def _model(config: Config) -> Iterator[str]:
    for family in ("conformer", "whisper"):
        if family in config["model"]:
            own = config["model"][family]
            checks = (_sizes, _conformer if family == "conformer" else _whisper_tokens)
            for problem in (problem for check in checks for problem in check(own)):
                yield f"model.{family}.{problem}"


def _sizes(own: Mapping[str, Any]) -> Iterator[str]:
    width, heads = own["hidden_size"], own["heads"]
    if width % heads:
        yield f"hidden_size: {width} is not a multiple of the {heads} heads"
    elif width % 2:
        yield f"hidden_size: {width} is odd, and half of the values of a position are sines"
    characters = own["characters"]
    if characters is not None and (
        len(set(characters)) != len(characters) or characters != characters.lower()
    ):
        yield f"characters: {characters!r} must be distinct and lower case"


def _conformer(own: Mapping[str, Any]) -> Iterator[str]:
    if own["kernel_size"] % 2 == 0:
        yield f"kernel_size: {own['kernel_size']} is even"
    fewest = _fewest_subwords(own["characters"])
    if own["bpe"] is not None and own["bpe"] < fewest:
        yield f"bpe: {own['bpe']} tokens are too few: these characters need {fewest}"


def _whisper_tokens(own: Mapping[str, Any]) -> Iterator[str]:
    """Tokens of a checkpoint, or characters; and a context that is a whole number of frames."""
    if own["characters"] is None and own["checkpoint"] is None:
        yield "characters: null is the vocabulary of a checkpoint; name one, or list characters"
    seconds = own["features"]["pad_seconds"]
    if abs(seconds * 50 - round(seconds * 50)) > 1e-6:
        yield f"features.pad_seconds: {seconds} is not a multiple of 0.02, the length of an encoder frame"


def _fewest_subwords(characters: str) -> int:
    """A subword for each character and one for the start of a word, and four special tokens."""
    return len(set(characters) - {" "}) + 1 + 4


def _whisper(config: Config) -> Iterator[str]:
    """CTC weights need a CTC head, `text_style` a vocabulary; the longest utterance fits in the context."""
    model = config["model"]
    if model["family"] != "whisper":
        return
    own = model["whisper"]
    if is_given(model) and own["ctc_head"]:
        yield "model.whisper.ctc_head: a checkpoint has none; say false"
    if not own["ctc_head"]:
        for key, weight in _ctc_weights(config):
            if weight:
                yield f"{key}: {weight}, but model.whisper.ctc_head is false; say 0"
    if own["characters"] is not None and own["text_style"] != "plain":
        yield "model.whisper.text_style: characters are lower case; say plain, or characters: null"
    elif own["text_style"] == "model" and not is_given(model):
        yield "model.whisper.text_style: model needs a checkpoint, whose style it is; say plain or transcript"
    for key, factor in () if is_given(model) else _slowest(config["base_training"]):
        longest, room = config["corpus"]["max_seconds"], own["features"]["pad_seconds"]
        if longest * factor > room:
            yield (
                f"base_training.{key}: corpus.max_seconds, {longest}, become {longest * factor:g}, "
                f"more than the {room} of model.whisper.features.pad_seconds"
            )


def _slowest(how: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The greatest factor by which a key of base training makes utterances longer, with the key."""
    by_speed = max(1.0, 1 / min(how["speed_perturbation"] or [1.0]))
    if by_speed > 1:
        yield "speed_perturbation", by_speed
    if how["time_stretch"] is not None:
        yield "time_stretch", how["time_stretch"][1] * by_speed


def labels_in_models_style(config: Config) -> bool:
    """Whether adapters are trained on labels that the base model's own transcripts give their form."""
    model = config["model"]
    return bool(model["family"] == "whisper" and model["whisper"]["text_style"] == "model")


def spares_ctc(config: Config) -> bool:
    """Whether the model has a CTC head that nothing trains, so that texts may be too long for a CTC loss."""
    family = config["model"]["family"]
    trained = any(weight for key, weight in _ctc_weights(config) if key != "decoding.ctc_weight")
    return has_ctc_head(family, config["model"][family]) and not trained


def _ctc_weights(config: Config) -> Iterator[tuple[str, float]]:
    """All weights of CTC that the experiment uses, with their keys."""
    if not is_given(config["model"]):
        yield "base_training.ctc_weight", config["base_training"]["ctc_weight"]
    for section in ARM_SECTIONS:
        yield f"{section}.ctc_weight", config[section]["ctc_weight"]
        for name, arm in config["arms"].items():
            if section in arm and "ctc_weight" in arm[section]:
                yield f"arms.{name}.{section}.ctc_weight", arm[section]["ctc_weight"]
    yield "decoding.ctc_weight", config["decoding"]["ctc_weight"]


def _ctc_decoding(config: Config) -> Iterator[str]:
    """A search uses a CTC head only if one is trained."""
    weight = config["decoding"]["ctc_weight"]
    if weight and not is_given(config["model"]) and not config["base_training"]["ctc_weight"]:
        yield f"decoding.ctc_weight: {weight}, but base_training.ctc_weight is 0: nothing trains the CTC head"


MODEL_CHECKS = (_model, _whisper, _ctc_decoding)
