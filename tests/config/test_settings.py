"""Typed settings: built from a section, with what the arm's entry says over it."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

from saml.config import settings as typed_settings
from saml.config.load import load, validate
from saml.config.settings import (
    AdaptationSettings,
    AdapterSettings,
    BaseTrainingSettings,
    DecodingSettings,
    PartitionSettings,
    PretrainingSettings,
    QuantisationSettings,
    ScoringSettings,
    TuningSettings,
    typed,
)
from saml.runtime.errors import SamlError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
SECTIONS = {
    "base_training": BaseTrainingSettings,
    "quantisation": QuantisationSettings,
    "pretraining": PretrainingSettings,
    "adaptation": AdaptationSettings,
    "partition": PartitionSettings,
    "tuning": TuningSettings,
    "decoding": DecodingSettings,
    "scoring": ScoringSettings,
}

Config = dict[str, Any]


@pytest.fixture
def config() -> Config:
    return load([ROOT / "config" / "config.yaml"])


def as_yaml(value: Any) -> Any:
    """A settings object as the mapping of plain values that a file would have."""
    if not is_dataclass(value):
        return value
    return {field.name: as_yaml(getattr(value, field.name)) for field in fields(value)}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_class_has_the_keys_and_values_of_its_section(section: str) -> None:
    written = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))[section]
    built = typed(SECTIONS[section], {section: written})
    assert as_yaml(built) == written


def test_no_setting_has_a_default_in_the_code() -> None:
    classes = [value for value in vars(typed_settings).values() if is_dataclass(value)]
    assert len(classes) > len(SECTIONS)
    for kind in classes:
        for field in fields(kind):
            with pytest.raises(TypeError):
                kind(**{other.name: None for other in fields(kind) if other.name != field.name})


def test_choices_are_those_of_the_schema(config: Config) -> None:
    """The message about a wrong value lists what the schema allows: the same as the class."""
    checked = 0
    for section, kind in SECTIONS.items():
        for name, hint in get_type_hints(kind).items():
            choices = {value for part in (hint, *getattr(hint, "__args__", ())) for value in literals(part)}
            if choices:
                wrong = {**config, section: {**config[section], name: "other"}}
                with pytest.raises(SamlError, match=f"{section}.{name}: 'other' is not one of") as error:
                    validate(wrong, SCHEMA)
                assert set(str(error.value).partition("one of ")[2].split(", ")) - {"null"} == choices
                checked += 1
    assert checked == 15


def literals(hint: Any) -> set[str]:
    return {value for value in getattr(hint, "__args__", ()) if isinstance(value, str)}


def test_the_entry_of_an_arm_overrides_a_section_key_by_key(config: Config) -> None:
    own = {"epochs": 3, "learning_rate": {"router": 0.5}}
    settings = {**config, "arm": {**config["arms"]["saml"], "adaptation": own}}
    built = typed(AdaptationSettings, settings)
    assert (built.epochs, built.batch_utterances) == (3, config["adaptation"]["batch_utterances"])
    assert built.learning_rate.router == 0.5
    assert built.learning_rate.expert == config["adaptation"]["learning_rate"]["expert"]
    assert typed(PretrainingSettings, settings).learning_rate.router != 0.5  # another section
    assert config["adaptation"]["learning_rate"]["router"] != 0.5  # the configuration is as before


def test_adapters_take_the_keys_of_the_arm_itself(config: Config) -> None:
    arm = {**config["arms"]["saml"], "rank": 7, "mixing": "output", "adaptation": {"epochs": 1}}
    built = typed(AdapterSettings, {"adapters": config["adapters"], "arm": arm})
    assert (built.experts, built.routed, built.rank, built.mixing) == (6, True, 7, "output")
    assert (built.alpha, built.dropout, built.decoder_routing) == (4, 0.2, "encoder")


def test_expert_initialisation_has_the_rate_of_experts_unless_it_has_its_own(config: Config) -> None:
    own = {"expert": 0.25, "router": 0.5}
    for rates, expected in ((own, 0.25), ({**own, "initialisation": 0.125}, 0.125)):
        arm = {**config["arms"]["saml"], "pretraining": {"learning_rate": rates}}
        assert typed(PretrainingSettings, {**config, "arm": arm}).initialisation_rate == expected


def test_an_arm_without_entries_of_its_own_has_the_section(config: Config) -> None:
    with_arm = typed(PretrainingSettings, {**config, "arm": config["arms"]["saml"]})
    assert with_arm == typed(PretrainingSettings, {"pretraining": config["pretraining"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("adaptation"), "adaptation: this section is missing"),
        (lambda config: config["adaptation"].pop("decay"), "adaptation.decay: this key is missing"),
        (
            lambda config: config["adaptation"]["learning_rate"].pop("router"),
            "adaptation.learning_rate.router: this key is missing",
        ),
        (lambda config: config["adaptation"].update(decays=1), "adaptation.decays: unknown key"),
        (
            lambda config: config["arm"].update(adaptation={"learning_rate": {"routers": 1.0}}),
            "adaptation.learning_rate.routers: unknown key",
        ),
    ],
)
def test_a_missing_or_unknown_key_is_named(config: Config, change: Any, message: str) -> None:
    settings = {**config, "arm": dict(config["arms"]["saml"])}
    change(settings)
    with pytest.raises(SamlError, match=f"^{message}$"):
        typed(AdaptationSettings, settings)


def test_settings_do_not_change(config: Config) -> None:
    built = typed(DecodingSettings, config)
    with pytest.raises(FrozenInstanceError):
        built.beams = 1  # type: ignore[misc]
