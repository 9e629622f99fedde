"""What is said of a wrong configuration: one line, with the key, and what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saml.config.checks import problems
from saml.config.load import load, validate
from saml.runtime.errors import SamlError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"

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


def running(arm: str, key: str, value: Any) -> Callable[[Config], None]:
    """A change of an arm, which is run."""

    def change(config: Config) -> None:
        config["run_arms"] = ["fp32", arm]
        config["arms"][arm][key] = value

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
    (put("adaptation.epoch", 3), "adaptation.epoch: unknown key; did you mean 'epochs'?"),
    (put("colour", "red"), "colour: unknown key"),
    (lambda config: config["adaptation"].pop("epochs"), "adaptation.epochs: this key is missing"),
    (put("adaptation.epochs", "ten"), "adaptation.epochs: 'ten' is not of type 'integer'"),
    (put("adaptation.epochs", 2.0), "adaptation.epochs: 2.0 is not of type 'integer'"),
    (put("adaptation.epochs", True), "adaptation.epochs: True is not of type 'integer'"),
    (put("adaptation.epochs", -1), "adaptation.epochs: -1 is less than the minimum of 0"),
    (
        put("adaptation", None),
        "adaptation: None is not of type 'object'; a key without a value is null",
    ),
    (put("seeds", 3), "seeds: 3 is not of type 'array'; write a list"),
    (put("adaptation.decay", float("nan")), "adaptation.decay: nan is not of type 'number'"),
    (
        put("adaptation.learning_rate.expert", "1e-3"),
        "adaptation.learning_rate.expert: '1e-3' is not of type 'number'; YAML reads a number",
    ),
    (
        put("speakers_together", True),
        "speakers_together: True is not of type 'integer'; write a number",
    ),
    (put("target_speakers", ["a", 19]), "target_speakers[1]: 19 is not of type 'string'; put it in quotes"),
    (put("target_speakers", ["a", "b", "a"]), "target_speakers: 'a' is listed twice"),
    (put("target_speakers", []), "target_speakers: [] is too short"),
    (put("target_speakers", {"all_of": []}), "target_speakers.all_of: [] is too short"),
    (put("target_speakers", {"all": ["x"]}), "target_speakers.all: unknown key; did you mean 'all_of'?"),
    (put("target_speakers", ["a\x00b"]), "target_speakers: 'a\\x00b' has a control character"),
    (put("target_speakers", ["-x"]), "target_speakers: '-x' would be read as an option"),
    (put("target_speakers", ["é" * 100]), "target_speakers: "),
    (put("seeds", [0]), "seeds[0]: 0 is less than the minimum of 1"),
    (put("experiment", "../x"), "experiment: '../x' may hold only letters, digits, '_', '.' and '-'"),
    (put("adaptation.select", "wer"), "adaptation.select: 'wer' is not one of loss, accuracy"),
    (put("run_arms", ["fp32", "sml"]), "run_arms: 'sml' is not an entry of arms; did you mean 'saml'?"),
    (put("run_arms", ["fp32", "xyz"]), "run_arms: 'xyz' is not an entry of arms (there are: fp32, nf4, "),
    (put("arms.nf4.experts", 1), "arms.nf4: an arm that is not adapted has no 'experts'"),
    (
        put("arms.pqm", {"precision": "nf4", "adapted": True}),
        "arms.pqm.experts: this key is missing (and 2 more)",
    ),
    (put("arms.saml.routed", False), "arms.saml: 6 experts need a router: say routed: true"),
    (put("arms.pqm.routed", True), "arms.pqm: one expert cannot be routed"),
    (put("initial_speakers", ["a", "b"]), "initial_speakers: 2 speakers for the 6 experts of arms.saml"),
    (
        lambda config: (
            put("initial_speakers", list("abcdef"))(config),
            put("run_arms", ["saml-e2"])(config),
        ),
        "initial_speakers: 6 speakers for the 2 experts of arms.saml-e2",
    ),
    (
        put("corpus.spoken_commands.pretrain.voices", 5),
        "corpus.spoken_commands.pretrain.voices: 5 speakers are fewer than the 6 experts of arms.saml",
    ),
    (
        put("corpus.spoken_commands.base.dev_voices", 72),
        "corpus.spoken_commands.base.dev_voices: 72 leaves none of 72 voices to train on",
    ),
    (put("corpus.spoken_commands.snr_db", [30, 15]), "corpus.spoken_commands.snr_db: [30, 15]: the lower"),
    (put("corpus.spoken_commands.snr_db", [30]), "corpus.spoken_commands.snr_db: [30] is too short"),
    (put("corpus.min_seconds", 20.0), "corpus.min_seconds: 20.0 is not below 20.0, max_seconds"),
    (lambda config: config["corpus"].pop("spoken_commands"), "corpus.spoken_commands: this key is missing"),
    (put("partition.scheme", "folds"), "partition.scheme: 'folds' is for recordings"),
    (put("corpus.name", "folder"), "partition.scheme: 'given' is for synthetic speech"),
    (
        put("model.conformer.hidden_size", 145),
        "model.conformer.hidden_size: 145 is not a multiple of the 4 heads",
    ),
    (put("model.conformer.characters", "aab"), "model.conformer.characters: 'aab' must be distinct"),
    (put("model.conformer.kernel_size", 10), "model.conformer.kernel_size: 10 is even"),
    (
        put("model.whisper.characters", None),
        "model.whisper.characters: null is the vocabulary of a checkpoint",
    ),
    (
        put("corpus.folder.synthetic_speech.gain_db", [0, -12]),
        "corpus.folder.synthetic_speech.gain_db: [0, -12]: the",
    ),
    (put("model.conformer.bpe", 31), "model.conformer.bpe: 31 tokens are too few: these characters need 32"),
    (
        put("base_training.speed_perturbation", [1.0, 1.0]),
        "base_training.speed_perturbation: 1.0 is listed",
    ),
    (
        put("base_training.precision", "fp16"),
        "base_training.precision: 'fp16' is not one of fp32, bf16, auto",
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
    (put("adaptation.ctc_backend", "k3"), "adaptation.ctc_backend: 'k3' is not one of torch, k2"),
    (put("scoring.error_stats", "sclite"), "scoring.error_stats: 'sclite' is not one of saml, icefall"),
    (put("enrolment.arms", ["nf4"]), "enrolment.arms: 'nf4' is not an adapted entry of arms"),
    (put("enrolment.reference", "nf4"), "enrolment.reference: 'nf4' is not one of enrolment.arms"),
    (put("enrolment.sizes", [3, 0]), "enrolment.sizes[1]: 0 is less than the minimum of 1"),
    (put("ablation.questions", {"rank": ["x"]}), "ablation.questions.rank: 'x' is not an entry of arms"),
    (put("ablation.questions", {"rank": []}), "ablation.questions.rank: [] is too short"),
    (put("ablation.reference", "nf4-lora"), "ablation.reference: 'nf4-lora' is an arm of no question"),
    (put("ablation.pruning", ["pqm"]), "ablation.pruning: 'pqm' has no router, so no expert can be left out"),
    (put("ablation.embeddings", ["x"]), "ablation.embeddings: 'x' is not an entry of arms"),
    (put("ablation.speakers", 0), "ablation.speakers: 0 is less than the minimum of 1"),
    (
        put("arms.pqm.adaptation", {"frozen": "expert"}),
        "arms.pqm: adaptation.frozen is for arms with a router",
    ),
    (put("adaptation.frozen", "all"), "adaptation.frozen: 'all' is not one of expert, router, null"),
    (
        running("pqm-others", "pretrained", "pmq"),
        "arms.pqm-others.pretrained: 'pmq' is not an entry of arms; did",
    ),
    (
        running("pqm-others", "pretrained", "nf4-lora"),
        "arms.pqm-others.pretrained: 'nf4-lora' is no arm with a pre-training of its own",
    ),
    (
        running("pqm-others", "pretrained", "pqm-wide"),
        "arms.pqm-others.pretrained: 'pqm-wide' has another rank",
    ),
    (
        running("saml-collapsed", "experts", 5),
        "arms.saml-collapsed.pretrained: 'saml-joint' has another experts",
    ),
    (put("arms.pqm.shared", "lora"), "arms.pqm: shared is for arms with several experts"),
    (put("arms.saml.experts_from", "speakers"), "arms.saml.experts_from: 'speakers' is not one of initial_"),
    (
        put("arms.pqm.adaptation", {"collapse": True}),
        "arms.pqm: adaptation.collapse is for arms that have a router and are pre-trained",
    ),
    (
        put("arms.saml-collapsed.decoder_routing", "input"),
        "arms.saml-collapsed: adaptation.collapse needs one route for an utterance: take decoder_routing",
    ),
    (
        put("arms.saml-table.decoder_routing", "input"),
        "arms.saml-table: routes_from needs one route for an utterance: take decoder_routing: encoder",
    ),
    (
        put("arms.saml.shared", "down"),
        "arms.saml: shared: down has one A for all experts, which needs experts_from: lora",
    ),
    (
        put("ablation.embeddings", ["saml-collapsed"]),
        "ablation.embeddings: 'saml-collapsed' is a mixture before adaptation and one LoRA after it",
    ),
    (
        put("ablation.pruning", ["saml-collapsed"]),
        "ablation.pruning: 'saml-collapsed' is a mixture before adaptation and one LoRA after it",
    ),
    (put("tuning.grid", []), "tuning.grid: [] is too short"),
    (put("tuning.grid", [1.0e-3, 0]), "tuning.grid[1]: 0 is less than or equal to the minimum of 0"),
    (put("tuning.speakers", ["-x"]), "tuning.speakers: '-x' would be read as an option"),
    (
        put("tuning.speakers", ["x", "it_f4_r170_p60"]),
        "tuning.speakers: 'it_f4_r170_p60' is in target_speakers too, and roles must not share speakers",
    ),
    (
        folder_corpus(base=["a", "pt_m5_r165_p40"]),
        "corpus.folder.roles.base: 'pt_m5_r165_p40' is in tuning.speakers too",
    ),
    (
        folder_corpus(base=["a"], pretrain=["a", *"bcdefg"]),
        "corpus.folder.roles.pretrain: 'a' is in corpus.folder.roles.base too",
    ),
    (
        folder_corpus(heldout=["it_f4_r170_p60"]),
        "corpus.folder.roles.heldout: 'it_f4_r170_p60' is in target_speakers too",
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


def test_limits_themselves_are_right(config: Config) -> None:
    """Values at the edge: as many voices as experts, one voice to train on, and the fewest subwords."""
    spoken = config["corpus"]["spoken_commands"]
    spoken["pretrain"]["voices"], spoken["base"]["dev_voices"] = 6, 71
    config["model"]["conformer"]["bpe"] = 32
    config["arms"]["saml"]["adaptation"] = {"frozen": "router"}
    config["arms"]["pqm"]["adaptation"] = {"frozen": None}
    validate(config, SCHEMA)


@pytest.mark.parametrize("start", ["lora", "clusters"])
def test_experts_that_start_from_no_speakers_need_none(config: Config, start: str) -> None:
    config["initial_speakers"] = ["a", "b"]
    config["run_arms"] = ["saml"]
    config["arms"]["saml"]["experts_from"] = start
    assert not list(problems(config))


def test_several_errors_are_counted(config: Config) -> None:
    config["adaptation"].update(epochs="ten", decay=2)
    with pytest.raises(SamlError, match=r"^config: adaptation.decay: 2 is greater .* \(and 1 more\)$"):
        validate(config, SCHEMA)


def test_an_arm_may_have_adapter_settings_of_its_own(config: Config) -> None:
    config["arms"]["wide"] = {**config["arms"]["nf4-lora"], "rank": 8, "mixing": "output", "dropout": 0.0}
    config["arms"]["full"] = {**config["arms"]["nf4-lora"], "precision": "fp32"}
    validate(config, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value", "now"),
    [
        ("adaptation.passes", 3, "epochs"),
        ("corpus.folder.general_utterances", 1, "heldout_utterances"),
        ("corpus.folder.roles.general", ["a"], "heldout"),
        ("corpus.librispeech.parts.general", ["a"], "heldout"),
        ("corpus.folder.made_speech", {}, "synthetic_speech"),
        ("ablation.encodings", [], "embeddings"),
    ],
)
def test_keys_of_earlier_versions_are_told_their_new_name(
    config: Config, path: str, value: object, now: str
) -> None:
    put(path, value)(config)
    with pytest.raises(SamlError, match=rf"^config: {path}: this key is now '{now}'$"):
        validate(config, SCHEMA)


def test_the_key_for_several_speakers_in_a_job_names_snakemakes_way(config: Config) -> None:
    config["speakers_per_job"] = 20
    message = "config: speakers_per_job: this key is now Snakemake's own --groups and --group-components"
    with pytest.raises(SamlError, match=f"^{message}; see slurm/config.yaml$"):
        validate(config, SCHEMA)
