"""Reading and checking configurations."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from saml.config import canonical, load, save, stage_settings, validate
from saml.errors import SamlError

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
AN4 = ROOT.parent / "shared" / "data" / "an4" / "manifest.tsv"

Config = dict[str, Any]


@pytest.fixture
def config() -> Config:
    return load([ROOT / "config" / "config.yaml"])


def put(path: str, value: Any) -> Callable[[Config], None]:
    """A change of a configuration: `value` at the key path."""

    def change(config: Config) -> None:
        *parents, last = path.split(".")
        section = config
        for key in parents:
            section = section[key]
        section[last] = value

    return change


def folder_corpus(**roles: list[str]) -> Callable[[Config], None]:
    """A change to a folder corpus with these roles."""

    def change(config: Config) -> None:
        config["corpus"]["name"] = "folder"
        config["corpus"]["folder"]["roles"] = roles
        config["partition"]["scheme"] = "random"

    return change


def whisper(*changes: Callable[[Config], None], **settings: Any) -> Callable[[Config], None]:
    """A change to the family whisper, with these settings and further changes."""

    def change(config: Config) -> None:
        own = {"features": {"bins": 80, "pad_seconds": 4.0, "tail_seconds": None}, **settings}
        config["model"]["family"] = "whisper"
        config["model"]["whisper"].update(own)
        for each in changes:
            each(config)

    return change


WRONG = [
    (put("adaptation.pases", 3), "adaptation.pases: unknown key; did you mean 'passes'?"),
    (put("colour", "red"), "colour: unknown key"),
    (lambda config: config["adaptation"].pop("passes"), "adaptation.passes: this key is missing"),
    (put("adaptation.passes", "ten"), "adaptation.passes: 'ten' is not of type 'integer'"),
    (put("adaptation.passes", 2.0), "adaptation.passes: 2.0 is not of type 'integer'"),
    (put("adaptation.passes", True), "adaptation.passes: True is not of type 'integer'"),
    (put("adaptation.passes", 0), "adaptation.passes: 0 is less than the minimum of 1"),
    (put("adaptation", None), "adaptation: None is not of type 'object'"),
    (put("adaptation.decay", float("nan")), "adaptation.decay: nan is not of type 'number'"),
    (
        put("adaptation.learning_rate.expert", "1e-3"),
        "adaptation.learning_rate.expert: '1e-3' is not of type 'number'; YAML takes a number for text",
    ),
    (put("target_speakers", ["a", 19]), "target_speakers[1]: 19 is not of type 'string'; put it in quotes"),
    (put("target_speakers", ["a", "b", "a"]), "target_speakers: 'a' stands here twice"),
    (put("target_speakers", []), "target_speakers: [] is too short"),
    (put("target_speakers", ["a\x00b"]), "target_speakers: 'a\\x00b' has a control character"),
    (put("target_speakers", ["-x"]), "target_speakers: '-x' would be taken for an option"),
    (put("target_speakers", ["é" * 100]), "target_speakers: "),
    (put("seeds", [0]), "seeds[0]: 0 is less than the minimum of 1"),
    (put("experiment", "../x"), "experiment: '../x' may hold only letters, digits, '_', '.' and '-'"),
    (put("adaptation.select", "wer"), "adaptation.select: 'wer' is not one of ['loss', 'accuracy']"),
    (put("run_arms", ["fp32", "sml"]), "run_arms: 'sml' is not an entry of arms"),
    (put("arms.nf4.experts", 1), "arms.nf4: an arm that is not adapted takes no 'experts'"),
    (
        put("arms.pqm", {"precision": "nf4", "adapted": True}),
        "arms.pqm: an adapted arm says how many 'experts'",
    ),
    (put("arms.saml.routed", False), "arms.saml: 6 experts need a router: say routed: true"),
    (put("arms.pqm.routed", True), "arms.pqm: one expert cannot be routed"),
    (put("initial_speakers", ["a", "b"]), "initial_speakers: 2 speakers for the 6 experts of arms.saml"),
    (
        put("corpus.spoken_commands.pretrain.voices", 5),
        "corpus.spoken_commands.pretrain.voices: 5 speakers are fewer than the 6 experts of arms.saml",
    ),
    (
        put("corpus.spoken_commands.base.dev_voices", 72),
        "corpus.spoken_commands.base.dev_voices: 72 leaves none of 72 voices to train on",
    ),
    (put("corpus.spoken_commands.snr_db", [30, 15]), "corpus.spoken_commands.snr_db: [30, 15] has its ends"),
    (put("corpus.spoken_commands.snr_db", [30]), "corpus.spoken_commands.snr_db: [30] is too short"),
    (put("corpus.min_seconds", 20.0), "corpus.min_seconds: 20.0 is not below 20.0, max_seconds"),
    (lambda config: config["corpus"].pop("spoken_commands"), "corpus.spoken_commands: this key is missing"),
    (put("partition.scheme", "folds"), "partition.scheme: 'folds' is for recordings"),
    (put("corpus.name", "folder"), "partition.scheme: 'given' is for made corpora"),
    (
        put("model.conformer.hidden_size", 145),
        "model.conformer.hidden_size: 145 is not a multiple of the 4 heads",
    ),
    (put("model.conformer.characters", "aab"), "model.conformer.characters: 'aab' must be distinct"),
    (put("model.conformer.bpe", 31), "model.conformer.bpe: 31 tokens are too few: these characters need 32"),
    (
        put("base_training.speed_perturbation", [1.0, 1.0]),
        "base_training.speed_perturbation: 1.0 stands here",
    ),
    (
        put("base_training.precision", "fp16"),
        "base_training.precision: 'fp16' is not one of ['fp32', 'bf16', ",
    ),
    (whisper(hidden_size=33, heads=3), "model.whisper.hidden_size: 33 is odd"),
    (
        whisper(features={"bins": 80, "pad_seconds": 4.51, "tail_seconds": None}),
        "model.whisper.features.pad_seconds: 4.51 is not a",
    ),
    (whisper(checkpoint=3), "model.whisper.checkpoint: 3 is not of type 'string', 'null'; put it in quotes"),
    (whisper(), "base_training.ctc_weight: 0.3, but model.whisper.ctc_head is false; say 0"),
    (whisper(checkpoint="x"), "pretraining.ctc_weight: 0.3, but model.whisper.ctc_head is false; say 0"),
    (whisper(checkpoint="x", ctc_head=True), "model.whisper.ctc_head: a checkpoint has none; say false"),
    (
        whisper(put("base_training.time_stretch", [0.9, 1.1]), ctc_head=True),
        "base_training.time_stretch: corpus.max_seconds, 20.0, become 22, more than the 4.0 of model.whisper",
    ),
    (
        whisper(
            put("base_training.speed_perturbation", [0.8, 1.0]), put("corpus.max_seconds", 4.0), ctc_head=True
        ),
        "base_training.speed_perturbation: corpus.max_seconds, 4.0, become 5, more than the 4.0 of model",
    ),
    (
        whisper(
            *(put(f"{name}.ctc_weight", 0) for name in ("base_training", "pretraining", "adaptation")),
            put("arms.pqm.adaptation", {"ctc_weight": 0.1}),
        ),
        "arms.pqm.adaptation.ctc_weight: 0.1, but model.whisper.ctc_head is false; say 0",
    ),
    (put("decoding.ctc_weight", 1.5), "decoding.ctc_weight: 1.5 is greater than the maximum of 1"),
    (
        whisper(put("decoding.ctc_weight", 0.3), put("pretraining.ctc_weight", 0), checkpoint="x"),
        "adaptation.ctc_weight: 0.3, but model.whisper.ctc_head is false; say 0 (and 1 more)",
    ),
    (
        lambda config: (put("decoding.ctc_weight", 0.3)(config), put("base_training.ctc_weight", 0)(config)),
        "decoding.ctc_weight: 0.3, but base_training.ctc_weight is 0: nothing trains the CTC head",
    ),
    (put("adaptation.ctc_backend", "k3"), "adaptation.ctc_backend: 'k3' is not one of ['torch', 'k2']"),
    (put("scoring.error_stats", "sclite"), "scoring.error_stats: 'sclite' is not one of ['saml', 'icefall']"),
    (put("enrolment.arms", ["nf4"]), "enrolment.arms: 'nf4' is not an adapted entry of arms"),
    (put("enrolment.reference", "nf4"), "enrolment.reference: 'nf4' is not one of enrolment.arms"),
    (put("enrolment.sizes", [3, 0]), "enrolment.sizes[1]: 0 is less than the minimum of 1"),
    (put("ablation.questions", {"rank": ["x"]}), "ablation.questions.rank: 'x' is not an entry of arms"),
    (put("ablation.questions", {"rank": []}), "ablation.questions.rank: [] is too short"),
    (put("ablation.reference", "nf4-lora"), "ablation.reference: 'nf4-lora' stands under no question"),
    (put("ablation.pruning", ["pqm"]), "ablation.pruning: 'pqm' has no router, so no expert can be left out"),
    (put("ablation.encodings", ["x"]), "ablation.encodings: 'x' is not an entry of arms"),
    (put("ablation.speakers", 0), "ablation.speakers: 0 is less than the minimum of 1"),
    (put("arms.pqm.adaptation", {"frozen": "expert"}), "arms.pqm: adaptation.frozen is for arms that are"),
    (put("adaptation.frozen", "all"), "adaptation.frozen: 'all' is not one of ['expert', 'router']"),
    (put("tuning.grid", []), "tuning.grid: [] is too short"),
    (put("tuning.grid", [1.0e-3, 0]), "tuning.grid[1]: 0 is less than or equal to the minimum of 0"),
    (put("tuning.speakers", ["-x"]), "tuning.speakers: '-x' would be taken for an option"),
    (
        put("tuning.speakers", ["x", "it_f4_r170_p60"]),
        "tuning.speakers: 'it_f4_r170_p60' stands in target_speakers too, and roles must not share speakers",
    ),
    (
        folder_corpus(base=["a", "pt_m5_r165_p40"]),
        "corpus.folder.roles.base: 'pt_m5_r165_p40' stands in tuning.speakers too",
    ),
    (
        folder_corpus(base=["a"], pretrain=["a", *"bcdefg"]),
        "corpus.folder.roles.pretrain: 'a' stands in corpus.folder.roles.base too",
    ),
    (
        folder_corpus(general=["it_f4_r170_p60"]),
        "corpus.folder.roles.general: 'it_f4_r170_p60' stands in target_speakers too",
    ),
    (
        folder_corpus(pretrain=["a", "b"]),
        "corpus.folder.roles.pretrain: 2 speakers are fewer than the 6 experts",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message.split(":")[0] for _, message in WRONG])
def test_a_wrong_configuration_is_one_line(
    config: Config, change: Callable[[Config], Any], message: str
) -> None:
    change(config)
    with pytest.raises(SamlError) as error:
        validate(config, SCHEMA)
    said = str(error.value)
    assert said.startswith(f"config: {message}")
    assert "\n" not in said and len(said) < 330


def test_several_errors_are_counted(config: Config) -> None:
    config["adaptation"].update(passes="ten", decay=2)
    with pytest.raises(SamlError, match=r"^config: adaptation.decay: 2 is greater .* \(and 1 more\)$"):
        validate(config, SCHEMA)


def test_an_arm_may_have_adapter_settings_of_its_own(config: Config) -> None:
    config["arms"]["wide"] = {**config["arms"]["nf4-lora"], "rank": 8, "mixing": "output", "dropout": 0.0}
    config["arms"]["full"] = {**config["arms"]["nf4-lora"], "precision": "fp32"}
    validate(config, SCHEMA)


OWN = sorted(path.relative_to(ROOT) for path in (ROOT / "config").glob("*-*.yaml"))


@pytest.mark.parametrize("name", [*map(str, OWN), "tests/config/tiny.yaml"])
def test_the_projects_own_configurations_are_right(name: str) -> None:
    validate(load([ROOT / "config" / "config.yaml", ROOT / name]), SCHEMA)


@pytest.mark.parametrize("name", ["config.yaml", "librispeech-whisper.yaml", "an4-conformer.yaml"])
def test_the_released_recipe_goes_over_any_configuration(name: str) -> None:
    """The released numbers, wherever an arm or a section says something else."""
    from saml.adapters import adapter_spec
    from saml.training.common import section_for_arm

    config = load([ROOT / "config" / each for each in ("config.yaml", name, "released.yaml")])
    validate(config, SCHEMA)
    for arm, expert in (("nf4-lora", 1e-3), ("pqm", 1e-3), ("saml", 3e-4)):
        for section in ("pretraining", "adaptation"):
            how = section_for_arm({**config, "arm": config["arms"][arm]}, section)
            assert how["learning_rate"]["expert"] == expert and how["learning_rate"]["router"] == 1e-3
            assert (how["decay"], how["batch_utterances"], how["select"]) == (0.9, 8, "accuracy")
            assert how["interleaved"]
    assert config["pretraining"]["learning_rate"]["initialisation"] == 1e-3
    assert config["adaptation"]["passes"] == 10 and config["decoding"]["beams"] == 20
    spec = adapter_spec(config["arms"]["saml"], config["adapters"])
    assert (spec.experts, spec.rank, spec.alpha, spec.dropout) == (10, 1, 4, 0.2) and spec.routed


def test_the_default_configuration_has_every_key_of_the_schema(config: Config) -> None:
    """So that no setting exists which a reader of config.yaml cannot see (an arm's own ones apart).

    One that may be missing stands there as a comment: to write it down would change what results depend on.
    """
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    comments = set(
        re.findall(r"^ +# (\w+): ", (ROOT / "config" / "config.yaml").read_text("utf-8"), re.MULTILINE)
    )

    def compare(section: Config, described: Config, path: str) -> None:
        described = schema["$defs"][described["$ref"].split("/")[-1]] if "$ref" in described else described
        for key, below in described.get("properties", {}).items():
            if path.startswith("arms") or path == "corpus.folder.roles":
                continue
            missing_is_fine = key in comments and key not in described.get("required", [])
            assert key in section or missing_is_fine, f"{path}.{key}"
            if isinstance(section.get(key), dict):
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
    assert stage_settings(config, wanted) == {"scoring": {"seed": config["scoring"]["seed"]}}
    config["scoring"]["error_stats"] = "icefall"
    assert stage_settings(config, wanted[1:]) == {"scoring": {"error_stats": "icefall"}}
    speeds = "base_training.speed_perturbation"  # one that may be missing is nobody's setting then
    assert stage_settings(config, [speeds]) == {}
    config["base_training"]["speed_perturbation"] = [0.9, 1.0]
    assert stage_settings(config, [speeds]) == {"base_training": {"speed_perturbation": [0.9, 1.0]}}
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
    assert [len(listed[role]) for role in ("base", "pretrain", "general")] == [32, 10, 4]
    pool = [speaker for role in listed.values() for speaker in role] + config["tuning"]["speakers"]
    assert sorted(pool) == sorted(s for s, role in roles.items() if role == "pool")
    assert config["target_speakers"] == sorted(s for s, role in roles.items() if role == "target")


def test_both_families_divide_an4_alike() -> None:
    """So that their word error rates can stand side by side, and nobody is tested whom a base has heard."""
    conformer, whisper = (load([ROOT / "config" / f"an4-{name}.yaml"]) for name in ("conformer", "whisper"))
    for path in ("target_speakers", "partition", "tuning", "enrolment"):
        assert conformer[path] == whisper[path]
    assert conformer["corpus"]["folder"]["roles"] == whisper["corpus"]["folder"]["roles"]
