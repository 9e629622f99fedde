"""The settings that concern a run, and its effective learning rate: what MLflow shows as its parameters.

A record holds whole sections of the configuration, beside what the entry of its arm says over them. A reader
who compares runs needs the values that were used, and none that the run has no use for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from saml.config.settings import ARM_SECTIONS, merged_with_arm
from saml.tracking.lines import Record

# Keys of `adapters` that concern mixtures only, and mixtures with routers only.
_OF_MIXTURES = ("mixing", "decoder_routing", "routes_from", "experts_from", "shared", "routed", "temperature")
_OF_ROUTERS = ("decoder_routing", "temperature")
# Keys of `pretraining` and `adaptation` that concern mixtures only.
_OF_MIXTURE_TRAINING = ("interleaved", "frozen", "initialisation_share", "collapse")
# Sizes of a network: no concern of speech, nor of a run that takes a given checkpoint with its own sizes.
_SIZES = (
    *("hidden_size", "encoder_layers", "decoder_layers", "heads", "encoder_feed_forward", "kernel_size"),
    *("decoder_feed_forward", "subsampling_channels", "max_target_positions", "dropout", "ctc_head"),
)


def concerning(record: Record) -> dict[str, Any]:
    """The settings of a run by section, merged with its arm's entry, and `learning_rate` if it trained."""
    settings = {name: _copy(value) for name, value in record.settings.items()}
    settings = _without_sizes(record.stage, _merged(settings))
    adapters = settings.get("adapters")
    if isinstance(adapters, dict):
        _keep_adapters(adapters)
        for name in ARM_SECTIONS:
            if isinstance(settings.get(name), dict):
                _keep_training(record.stage, settings[name], adapters)
        if record.stage != "initialise-experts" or adapters.get("experts", 1) == 1:
            settings.pop("initial_speakers", None)
    rate = effective_rate(record)
    return settings if rate is None else {**settings, "learning_rate": rate}


def effective_rate(record: Record) -> float | None:
    """The learning rate with which a run trained: of the experts, or of the routers where only these were.

    That of the arm, if its entry has one; of expert initialisation in that stage; the highest in training a
    base model. None for a run that trained nothing.
    """
    stage, settings = record.stage, record.settings
    if stage == "judge-rate":
        return _number(settings.get("rate"))
    if stage == "train-base":
        return _number(_copy(settings.get("base_training", {})).get("learning_rate"))
    # Decoding takes over the settings of the adaptation whose adapter it decodes with.
    section = "pretraining" if stage in ("pretrain", "initialise-experts") else "adaptation"
    if stage not in ("pretrain", "initialise-experts", "adapt", "decode") or section not in settings:
        return None
    training = _merged(settings)[section]
    rates = training.get("learning_rate")
    if not isinstance(rates, Mapping):
        return None
    if stage == "initialise-experts" and rates.get("initialisation") is not None:
        return _number(rates["initialisation"])
    only_routers = training.get("frozen") == "expert" and stage != "initialise-experts"
    return _number(rates.get("router" if only_routers else "expert"))


def of_experiment(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without other corpora, other families of models, and arms that do not run."""
    kept = {name: _copy(value) for name, value in config.items()}
    for section, key in (("corpus", "name"), ("model", "family")):
        inner = kept.get(section)
        if isinstance(inner, dict) and key in inner:
            chosen = inner[key]
            kept[section] = {
                name: value
                for name, value in inner.items()
                if not isinstance(value, Mapping) or name == chosen
            }
    arms, ran = kept.get("arms"), kept.get("run_arms")
    if isinstance(arms, dict) and isinstance(ran, Sequence):
        kept["arms"] = {name: entry for name, entry in arms.items() if name in ran}
    return kept


def _merged(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sections with what the arm's entry says over them; the entry keeps what belongs to no section."""
    arm = settings.get("arm")
    if not isinstance(arm, Mapping):
        return dict(settings)
    merged = dict(settings)
    for section in ("adapters", *ARM_SECTIONS):
        if isinstance(settings.get(section), Mapping):
            merged[section] = merged_with_arm(settings, section)
    taken = set(ARM_SECTIONS) | set(merged.get("adapters", {}))
    merged["arm"] = {key: value for key, value in arm.items() if key not in taken}
    return merged


def _keep_adapters(adapters: dict[str, Any]) -> None:
    """Remove the keys of `adapters` that one LoRA, or a mixture without routers, has no use for."""
    if adapters.get("experts", 1) == 1:
        _drop(adapters, _OF_MIXTURES)
    elif not _has_routers(adapters):
        _drop(adapters, _OF_ROUTERS)


def _keep_training(stage: str, training: dict[str, Any], adapters: Mapping[str, Any]) -> None:
    """Remove the keys of `pretraining` or `adaptation` that the run had no use for."""
    mixture = adapters.get("experts", 1) > 1
    if not training.get("ctc_weight"):
        _drop(training, ["ctc_backend"])
    if not mixture:
        _drop(training, _OF_MIXTURE_TRAINING)
    if stage == "initialise-experts":
        _drop(training, ["interleaved", "frozen", "select"])  # each expert is one LoRA, without a dev part
    rates = training.get("learning_rate")
    if isinstance(rates, dict):
        if stage == "initialise-experts":
            first = rates.get("initialisation")
            training["learning_rate"] = {"initialisation": rates.get("expert") if first is None else first}
        else:
            _drop(rates, ["initialisation"])
            if not mixture or not _has_routers(adapters):
                _drop(rates, ["router"])


def _has_routers(adapters: Mapping[str, Any]) -> bool:
    return bool(adapters.get("routed", True)) and adapters.get("routes_from", "router") == "router"


def _without_sizes(stage: str, settings: dict[str, Any]) -> dict[str, Any]:
    """`model` without the sizes of a network that is not built, or is built with a checkpoint's sizes."""
    model = settings.get("model")
    if not isinstance(model, Mapping):
        return settings
    kept = {}
    for name, value in model.items():
        if isinstance(value, Mapping) and (stage.startswith("prepare-") or value.get("checkpoint")):
            value = {key: inner for key, inner in value.items() if key not in _SIZES}
        kept[name] = value
    return {**settings, "model": kept}


def _drop(section: dict[str, Any], keys: Sequence[str]) -> None:
    for key in keys:
        section.pop(key, None)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _copy(value: Any) -> Any:
    """Nested mappings as dicts of their own: what is removed here stays in the record."""
    if isinstance(value, Mapping):
        return {str(key): _copy(inner) for key, inner in value.items()}
    return value
