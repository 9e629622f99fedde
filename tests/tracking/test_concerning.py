"""The parameters of a run in MLflow: the values that were used, and none that the run has no use for."""

from pathlib import Path
from typing import Any

import pytest

from saml.config.load import load
from saml.config.settings import AdaptationSettings, PretrainingSettings, typed
from saml.tracking import Record
from saml.tracking.concerning import concerning, effective_rate, of_experiment

ROOT = Path(__file__).parents[2]
ADAPTERS = {
    **{"alpha": 4, "dropout": 0.2, "feed_forward": True, "rank": 1, "mixing": "merge", "shared": "nothing"},
    **{"decoder_routing": "encoder", "routes_from": "router", "experts_from": "initial_speakers"},
    "temperature": 1.0,
}
ADAPTATION: dict[str, Any] = {
    **{"batch_utterances": 4, "clip_norm": 5.0, "collapse": False, "ctc_backend": "torch", "ctc_weight": 0},
    **{"decay": 0.9, "epochs": 5, "frozen": None, "interleaved": True, "precision": "fp32", "select": "loss"},
    "learning_rate": {"expert": 0.001, "router": 0.002},
}
PRETRAINING: dict[str, Any] = {
    **{key: value for key, value in ADAPTATION.items() if key not in ("epochs", "collapse")},
    **{"utterances": 1000, "initialisation_share": 0.25},
    "learning_rate": {"expert": 0.001, "initialisation": 0.005, "router": 0.002},
}
LORA = {"adapted": True, "precision": "nf4", "experts": 1, "routed": False, "pretrained": False}
MIXTURE = {**LORA, "experts": 6, "routed": True, "pretrained": True}


def record(stage: str, arm: dict[str, Any], **sections: Any) -> Record:
    return Record(stage, "tiny", settings={"arm": arm, "adapters": ADAPTERS, **sections})


def test_the_rate_is_the_one_that_the_stage_trains_with() -> None:
    """Compared with the typed settings that the stages themselves read, and with the arm's own entry."""
    own = {**MIXTURE, "adaptation": {"learning_rate": {"expert": 0.0003}}}
    adapt = record("adapt", own, adaptation=ADAPTATION)
    used = typed(AdaptationSettings, adapt.settings).learning_rate
    assert effective_rate(adapt) == used.expert == 0.0003
    assert concerning(adapt)["learning_rate"] == 0.0003
    assert concerning(adapt)["adaptation"]["learning_rate"] == {"expert": used.expert, "router": used.router}
    assert "adaptation" not in concerning(adapt)["arm"]
    pretrain = record("pretrain", MIXTURE, pretraining=PRETRAINING)
    initialise = record("initialise-experts", MIXTURE, pretraining=PRETRAINING)
    assert effective_rate(pretrain) == 0.001
    assert effective_rate(initialise) == typed(PretrainingSettings, initialise.settings).initialisation_rate
    assert effective_rate(initialise) == 0.005


@pytest.mark.parametrize(
    ("stage", "settings", "rate"),
    [
        ("train-base", {"base_training": {"learning_rate": 0.002}}, 0.002),
        ("judge-rate", {"adaptation": {"ctc_weight": 0}, "kind": "adaptation", "rate": 0.003}, 0.003),
        (
            "adapt",
            {"arm": MIXTURE, "adapters": ADAPTERS, "adaptation": ADAPTATION | {"frozen": "expert"}},
            0.002,
        ),
        ("decode", {"arm": MIXTURE, "adapters": ADAPTERS, "adaptation": ADAPTATION}, 0.001),
        ("decode", {"arm": {"adapted": False, "precision": "fp32"}, "decoding": {"beams": 4}}, None),
        ("tabulate", {"scoring": {"draws": 10}}, None),
    ],
)
def test_rates_of_other_stages(stage: str, settings: dict[str, Any], rate: float | None) -> None:
    assert effective_rate(Record(stage, "tiny", settings=settings)) == rate
    assert concerning(Record(stage, "tiny", settings=settings)).get("learning_rate") == rate


def test_the_initialisation_takes_the_rate_of_the_experts_where_it_has_none() -> None:
    rates = {"expert": 0.001, "initialisation": None, "router": 0.002}
    found = concerning(
        record("initialise-experts", MIXTURE, pretraining=PRETRAINING | {"learning_rate": rates})
    )
    assert found["learning_rate"] == 0.001
    assert found["pretraining"]["learning_rate"] == {"initialisation": 0.001}


def test_one_lora_has_no_parameters_of_a_mixture() -> None:
    found = concerning(record("adapt", LORA, adaptation=ADAPTATION, initial_speakers=None))
    assert set(found["adapters"]) == {"alpha", "dropout", "feed_forward", "rank", "experts"}
    assert found["adaptation"]["learning_rate"] == {"expert": 0.001}
    assert not {"interleaved", "frozen", "collapse", "ctc_backend"} & set(found["adaptation"])
    assert "initial_speakers" not in found


def test_a_mixture_without_routers_has_none_of_their_parameters() -> None:
    found = concerning(record("adapt", {**MIXTURE, "routes_from": "table"}, adaptation=ADAPTATION))
    assert found["adaptation"]["learning_rate"] == {"expert": 0.001}
    assert "temperature" not in found["adapters"] and found["adapters"]["mixing"] == "merge"


def test_the_record_itself_stays_as_it_is() -> None:
    own = record("adapt", LORA, adaptation=ADAPTATION)
    concerning(own)
    assert own.settings["adaptation"] == ADAPTATION and "router" in ADAPTATION["learning_rate"]


def test_sizes_of_a_network_concern_the_training_of_a_base_model_only() -> None:
    whisper = {"checkpoint": None, "hidden_size": 144, "text_style": "plain"}
    settings = {"model": {"family": "whisper", "whisper": whisper}}
    kept = {
        stage: concerning(Record(stage, "tiny", settings=settings))["model"]["whisper"]
        for stage in ("prepare-pool", "train-base")
    }
    assert kept["prepare-pool"] == {"checkpoint": None, "text_style": "plain"}
    assert kept["train-base"] == whisper
    settings = {"model": {"family": "whisper", "whisper": {**whisper, "checkpoint": "tiny.en"}}}
    taken = concerning(Record("import-base", "tiny", settings=settings))["model"]["whisper"]
    assert taken == {"checkpoint": "tiny.en", "text_style": "plain"}


def test_a_pipeline_run_has_its_own_corpus_model_and_arms() -> None:
    config = load([ROOT / "config/config.yaml"])
    kept = of_experiment(config)
    mappings = {name for name, value in kept["corpus"].items() if isinstance(value, dict)}
    assert mappings == {"spoken_commands"} and kept["corpus"]["max_seconds"] == 20.0
    assert "conformer" in kept["model"] and "whisper" not in kept["model"]
    assert list(kept["arms"]) == [arm for arm in config["arms"] if arm in config["run_arms"]]
    assert len(kept["arms"]) < len(config["arms"])
    assert kept["adaptation"] == config["adaptation"]
