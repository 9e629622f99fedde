"""What stages receive: typed settings, one class for each section of the configuration.

`typed(PretrainingSettings, settings)` builds one from the sections that a stage was given; what the entry of
the stage's arm says goes before the section. No field has a default: defaults are in config/config.yaml.
Values are not checked again, `saml.config.load.validate` did that; only the keys are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints

from saml.runtime.errors import SamlError

T = TypeVar("T", bound="Settings")

# Sections that an arm's entry may have too, under the same name.
ARM_SECTIONS = ("pretraining", "adaptation")


class Settings:
    """Settings of one section of the configuration, whose name is `section`."""

    section: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class SpecAugmentSettings:
    """Masks over time and frequency: how many, and how wide at most (frames, mel bins)."""

    time_masks: int
    time_width: int
    frequency_masks: int
    frequency_width: int


@dataclass(frozen=True, kw_only=True)
class PhaseSettings:
    """A phase of base training with its own number of epochs and highest learning rate."""

    epochs: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class BaseTrainingSettings(Settings):
    """Training of the base model. `average` best epochs give the weights; `time_stretch` is (low, high)."""

    section: ClassVar = "base_training"

    epochs: int
    average: int
    average_by: Literal["saml", "icefall"]
    batch_seconds: float
    learning_rate: float
    warm_up_share: float
    schedule: Literal["cosine", "inverse_sqrt"]
    weight_decay: float
    ctc_weight: float
    ctc_backend: Literal["torch", "k2"]
    label_smoothing: float
    clip_norm: float
    select: Literal["loss", "accuracy"]
    opening: PhaseSettings
    closing: PhaseSettings
    time_stretch: Sequence[float] | None
    speed_perturbation: Sequence[float] | None
    spec_augment: SpecAugmentSettings
    precision: Literal["fp32", "bf16", "auto"]
    seed: int


@dataclass(frozen=True, kw_only=True)
class QuantisationSettings(Settings):
    """NF4: weights per scale, and whether the scales are quantised too."""

    section: ClassVar = "quantisation"

    block_size: int
    double: bool


@dataclass(frozen=True, kw_only=True)
class AdapterSettings(Settings):
    """The adapters of an arm: what its entry says, and the section `adapters` for all else."""

    section: ClassVar = "adapters"

    experts: int
    routed: bool
    rank: int
    alpha: float
    dropout: float
    feed_forward: bool
    mixing: Literal["merge", "output"]
    decoder_routing: Literal["encoder", "input"]
    temperature: float
    shared: Literal["nothing", "lora", "down"]
    routes_from: Literal["router", "table"]
    experts_from: Literal["initial_speakers", "clusters", "lora"]


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """Learning rates of the LoRAs (`expert`) and of the routers."""

    expert: float
    router: float


@dataclass(frozen=True, kw_only=True)
class PretrainingRates(LearningRates):
    """With the rate of expert initialisation; None: that of `expert`."""

    initialisation: float | None


@dataclass(frozen=True, kw_only=True)
class AdapterTrainingSettings(Settings):
    """What pre-training and adaptation have in common. `frozen` parameters are not updated."""

    batch_utterances: int
    learning_rate: LearningRates
    interleaved: bool
    frozen: Literal["expert", "router"] | None
    decay: float
    clip_norm: float
    ctc_weight: float
    ctc_backend: Literal["torch", "k2"]
    precision: Literal["fp32", "bf16", "auto"]
    select: Literal["loss", "accuracy"]


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings(AdapterTrainingSettings):
    """Expert initialisation and pre-training: `utterances` in all, a share of them for initialisation."""

    section: ClassVar = "pretraining"

    utterances: int
    initialisation_share: float
    learning_rate: PretrainingRates

    @property
    def initialisation_rate(self) -> float:
        """The learning rate of expert initialisation."""
        own = self.learning_rate.initialisation
        return self.learning_rate.expert if own is None else own


@dataclass(frozen=True, kw_only=True)
class AdaptationSettings(AdapterTrainingSettings):
    """Adaptation to one target speaker: `epochs` over the speaker's training part.

    `collapse`: a mixture is merged into one LoRA with the speaker's mean route first.
    """

    section: ClassVar = "adaptation"

    epochs: int
    collapse: bool


@dataclass(frozen=True, kw_only=True)
class PartitionSettings(Settings):
    """How the utterances of a target speaker are split into train, dev and test."""

    section: ClassVar = "partition"

    scheme: Literal["given", "contiguous", "random", "folds"]
    folds: int
    seed: int
    enrolment: int | None


@dataclass(frozen=True, kw_only=True)
class TuningSettings(Settings):
    """The learning-rate sweep: rates, seed and speakers of the trials."""

    section: ClassVar = "tuning"

    grid: Sequence[float]
    seed: int
    speakers: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class DecodingSettings(Settings):
    """Beam search. `ctc_weight` is the share of the CTC head's scores; 0: the decoder's scores alone.

    `guard`: outputs that loop are decoded again (see `saml.decoding.looping`).
    """

    section: ClassVar = "decoding"

    beams: int
    batch_seconds: float
    max_tokens_per_second: float
    ctc_weight: float
    guard: bool


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(Settings):
    """Scorers, the draws of the paired bootstrap, and which library writes the error files."""

    section: ClassVar = "scoring"

    scorers: Sequence[str]
    draws: int
    seed: int
    error_stats: Literal["saml", "icefall"]


def typed(kind: type[T], settings: Mapping[str, Any]) -> T:
    """The section of `kind` as an object of it, merged with the entry of the arm where there is one.

    Args:
        kind: one of the classes above.
        settings: what a stage receives: sections of the configuration by name, and the arm's entry as "arm".

    Raises:
        SamlError: the section is missing, or one of its keys is missing or unknown; the message names it.
    """
    section = kind.section
    if section not in settings:
        raise SamlError(f"{section}: this section is missing")
    return _build(kind, merged_with_arm(settings, section), section)


def merged_with_arm(settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A section as a mapping, with what the arm's entry says over it, key by key.

    An arm overrides `pretraining` and `adaptation` under their names, and `adapters` directly.
    """
    arm: Mapping[str, Any] = settings["arm"] if "arm" in settings else {}
    if section == AdapterSettings.section:
        own = {field.name: arm[field.name] for field in fields(AdapterSettings) if field.name in arm}
    else:
        own = arm[section] if section in arm else {}
    return _merge(settings[section], own)


def adapters_of(config: Mapping[str, Any], arm: Mapping[str, Any]) -> dict[str, Any]:
    """The section `adapters` of a configuration with what the entry of an arm says over it."""
    return merged_with_arm({"adapters": config["adapters"], "arm": arm}, "adapters")


def start_of(arms: Mapping[str, Any], name: str) -> str:
    """The arm whose pre-training the pre-trained arm `name` starts from: its own, or that of another arm."""
    named = arms[name]["pretrained"]
    return named if isinstance(named, str) else name


def _merge(section: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(section)
    for key, value in own.items():
        inside = isinstance(value, Mapping) and key in section
        merged[key] = _merge(section[key], value) if inside else value
    return merged


def _build(kind: type[Any], content: Any, path: str) -> Any:
    """An object of the dataclass `kind`; fields that are dataclasses are built from the mappings inside."""
    if not isinstance(content, Mapping):
        raise SamlError(f"{path}: {content!r} is no mapping of keys to values")
    types = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for name in names:
        if name not in content:
            raise SamlError(f"{path}.{name}: this key is missing")
    for key in content:
        if key not in names:
            raise SamlError(f"{path}.{key}: unknown key")
    values = {name: content[name] for name in names}
    for name in names:
        if is_dataclass(types[name]):
            values[name] = _build(types[name], content[name], f"{path}.{name}")
    return kind(**values)
