"""Reading and checking configurations."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from saml.config.load import canonical, load, save, stage_settings, validate
from saml.config.settings import AdaptationSettings, AdapterSettings, PretrainingSettings, typed
from saml.runtime.errors import SamlError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
AN4 = ROOT.parent / "shared" / "data" / "an4" / "manifest.tsv"

CORPORA, FAMILIES = (
    {"spoken_commands", "folder", "librispeech", "tedlium3", "speechocean762"},
    {"conformer", "whisper"},
)

Config = dict[str, Any]


@pytest.fixture
def config() -> Config:
    return load([ROOT / "config" / "config.yaml"])


OWN = sorted(path.relative_to(ROOT) for path in (ROOT / "config").glob("*-*.yaml"))


@pytest.mark.parametrize("name", [*map(str, OWN), "tests/configurations/tiny.yaml"])
def test_the_projects_own_configurations_are_right(name: str) -> None:
    validate(load([ROOT / "config" / "config.yaml", ROOT / name]), SCHEMA)


@pytest.mark.parametrize("name", ["config.yaml", "librispeech-whisper.yaml", "an4-conformer.yaml"])
def test_the_released_recipe_goes_over_any_configuration(name: str) -> None:
    """The released numbers, wherever an arm or a section says something else."""
    config = load([ROOT / "config" / each for each in ("config.yaml", name, "released.yaml")])
    validate(config, SCHEMA)
    for arm, expert in (("nf4-lora", 1e-3), ("pqm", 1e-3), ("saml", 3e-4)):
        for kind in (PretrainingSettings, AdaptationSettings):
            how = typed(kind, {**config, "arm": config["arms"][arm]})
            assert (how.learning_rate.expert, how.learning_rate.router) == (expert, 1e-3)
            assert (how.decay, how.batch_utterances, how.select) == (0.9, 8, "accuracy")
            assert how.interleaved
    saml = {**config, "arm": config["arms"]["saml"]}
    assert typed(PretrainingSettings, saml).initialisation_rate == 1e-3
    assert config["adaptation"]["epochs"] == 10 and config["decoding"]["beams"] == 20
    spec = typed(AdapterSettings, saml)
    assert (spec.experts, spec.rank, spec.alpha, spec.dropout) == (10, 1, 4, 0.2) and spec.routed


def test_the_default_configuration_has_every_key_of_the_schema(config: Config) -> None:
    """A reader of config.yaml sees every setting and its default; arms and a folder's roles leave some out.

    Every section requires all of its keys, so that the code needs no defaults.
    """
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))

    def compare(section: Config, described: Config, path: str) -> None:
        if path.startswith("arms") or path in ("corpus.folder.roles", "ablation.questions"):
            return
        reused = schema["$defs"][described["$ref"].split("/")[-1]] if "$ref" in described else {}
        required = {*described.get("required", []), *reused.get("required", [])}
        properties = {**reused.get("properties", {}), **described.get("properties", {})}
        own = {"corpus": CORPORA, "model": FAMILIES}.get(
            path, set()
        )  # sections of which a file needs one only
        assert set(properties) == set(section) == required | own, path
        for key, below in properties.items():
            if isinstance(section[key], dict):
                compare(section[key], below, f"{path}.{key}".removeprefix("."))

    compare(config, schema, "")


def test_what_an_arm_says_of_a_section_goes_to_the_stages_of_that_section(config: Config) -> None:
    rates = {"expert": 1.0e-2, "router": 1.0e-3}
    config["arms"]["saml"] |= {"adaptation": {"learning_rate": rates}, "pretraining": {"utterances": 80}}
    validate(config, SCHEMA)
    adapt = stage_settings(config, ["arm", "adapters", "adaptation"], "saml")
    assert adapt["arm"]["adaptation"] == {"learning_rate": rates} and "pretraining" not in adapt["arm"]
    assert "adaptation" not in stage_settings(config, ["arm", "pretraining"], "saml")["arm"]
    decode = stage_settings(config, ["arm", "scoring.scorers"], "saml")
    assert decode["scoring"] == {"scorers": ["released", "whisper"]} and "adaptation" not in decode["arm"]
    parts = stage_settings(config, ["partition.folds", "partition.seed"])
    assert parts == {"partition": {"folds": 5, "seed": 2406}} and "scheme" in config["partition"]
    wanted = ["scoring.seed", "scoring.error_stats"]
    assert stage_settings(config, wanted) == {"scoring": {"seed": 1, "error_stats": "saml"}}
    speeds = stage_settings(config, ["base_training.speed_perturbation"])
    assert speeds == {"base_training": {"speed_perturbation": None}}
    config["arms"]["saml"]["adaptation"] = {"learning_rate": {"expert": 1.0e-2}}
    with pytest.raises(SamlError, match="arms.saml.adaptation.learning_rate.router: this key is missing"):
        validate(config, SCHEMA)


def test_every_key_of_the_schema_is_described_and_closed() -> None:
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))

    def check(part: Any, path: str) -> None:
        if part.get("type") == "object":
            assert "additionalProperties" in part, path
        for key, below in part.get("properties", {}).items():
            described = (
                "description" in below or "description" in schema["$defs"][below["$ref"].split("/")[-1]]
            )
            assert described, f"{path}.{key}"
            check(below, f"{path}.{key}")

    check(schema, "config")
    for name, part in schema["$defs"].items():
        check(part, name)


def test_every_key_is_explained(config: Config) -> None:
    words = set(re.findall(r"[a-z_0-9]+", (ROOT / "config" / "README.md").read_text(encoding="utf-8")))

    def names(section: Config) -> set[str]:
        below = [names(value) for value in section.values() if isinstance(value, dict)]
        return set(section).union(*below)

    own_names = set(config.pop("arms"))
    assert names(config) - own_names <= words


def test_files_merge_key_by_key_and_lists_are_replaced(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("a: {b: 1, c: [1, 2]}\nd: 1\n")
    second.write_text("a: {c: [3]}\nd: {e: 2}\n")
    assert load([first, second]) == {"a": {"b": 1, "c": [3]}, "d": {"e": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read this configuration"),
        ("a: [1", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("- a", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "x.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SamlError, match=message) as error:
        load([path])
    assert "\n" not in str(error.value)


def test_a_saved_configuration_reads_back(config: Config, tmp_path: Path) -> None:
    save(config, tmp_path / "new" / "config.yaml")
    assert load([tmp_path / "new" / "config.yaml"]) == config


def test_a_stage_sees_its_own_settings_only(config: Config) -> None:
    settings = stage_settings(config, ["corpus", "model", "arm", "initial_speakers"], "saml")
    assert "folder" not in settings["corpus"] and "spoken_commands" in settings["corpus"]
    assert settings["model"]["family"] == "conformer" and set(settings["model"]) == {"family", "conformer"}
    assert settings["arm"]["experts"] == 6 and settings["initial_speakers"] is None
    again = json.loads(canonical(settings))
    assert again == settings and canonical(dict(reversed(again.items()))) == canonical(settings)


@pytest.mark.skipif(not AN4.is_file(), reason="the AN4 corpus is not beside the project")
def test_the_roles_of_an4_are_its_speakers() -> None:
    with AN4.open(encoding="utf-8") as stream:
        roles = {row["speaker"]: row["role"] for row in csv.DictReader(stream, delimiter="\t")}
    config = load([ROOT / "config" / "an4-conformer.yaml"])
    listed = config["corpus"]["folder"]["roles"]
    assert [len(listed[role]) for role in ("base", "pretrain", "heldout")] == [32, 10, 4]
    pool = [speaker for role in listed.values() for speaker in role] + config["tuning"]["speakers"]
    assert sorted(pool) == sorted(s for s, role in roles.items() if role == "pool")
    assert config["target_speakers"] == sorted(s for s, role in roles.items() if role == "target")


def test_both_families_divide_an4_alike() -> None:
    """So that their word error rates can stand side by side, and nobody is tested whom a base has heard."""
    conformer, whisper = (load([ROOT / "config" / f"an4-{name}.yaml"]) for name in ("conformer", "whisper"))
    for path in ("target_speakers", "partition", "enrolment"):
        assert conformer[path] == whisper[path]
    assert conformer["tuning"]["speakers"] == whisper["tuning"]["speakers"]
    assert conformer["corpus"]["folder"]["roles"] == whisper["corpus"]["folder"]["roles"]
