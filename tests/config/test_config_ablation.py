"""The ablation of the paper's experiments: what differs in it, and that what should be alike is."""

from pathlib import Path
from typing import Any

import pytest
import torch

from saml.adapters import AdaptedRecogniser
from saml.config.load import load, validate
from saml.config.settings import AdaptationSettings, PretrainingSettings, typed
from saml.models.build import build
from saml.models.whisper import WhisperRecogniser
from saml.training.adapter_training import adapter_spec

ROOT = Path(__file__).parents[2]
EXPERIMENTS = [
    (corpus, family) for corpus in ("librispeech", "tedlium3") for family in ("whisper", "conformer")
]
PER_EXPERT = {"saml-e2": 2, "saml-e5": 5, "saml-e20": 20}


def configured(corpus: str, family: str) -> dict[str, Any]:
    names = ("config.yaml", f"{corpus}-{family}.yaml", f"ablation-{family}.yaml")
    config = load([ROOT / "config" / name for name in names])
    validate(config, ROOT / "workflow" / "schemas" / "config.schema.yaml")
    return config


def asked(config: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(arm for arms in config["ablation"]["questions"].values() for arm in arms))


@pytest.mark.parametrize(("corpus", "family"), EXPERIMENTS)
def test_mixtures_differ_in_one_thing_and_rates_are_the_released_ones(corpus: str, family: str) -> None:
    """Ten experts where a question is of something else, scale 4, 3e-4 for experts and 1e-3 for all else."""
    config = configured(corpus, family)
    for name in asked(config):
        arm = config["arms"][name]
        if not arm["adapted"]:
            continue
        spec = adapter_spec({"arm": arm, "adapters": config["adapters"]})
        assert spec.alpha / spec.rank == 4, name
        assert spec.experts == (PER_EXPERT.get(name, 10) if spec.routed else 1), name
        for kind in (PretrainingSettings, AdaptationSettings):
            rates = typed(kind, {**config, "arm": arm}).learning_rate
            assert (rates.expert, rates.router) == (3e-4 if spec.routed else 1e-3, 1e-3), name
    adapted = [config["arms"][name] for name in asked(config) if config["arms"][name]["adapted"]]
    mixtures = [arm for arm in adapted if arm["routed"]]
    assert {arm["experts"] for arm in mixtures} == {2, 5, 10, 20}
    assert {arm.get("rank", 1) for arm in mixtures} == {1, 2, 4, 8}
    assert {1, 2, 4, 8} < {config["arms"][name].get("rank", 1) for name in asked(config) if "pqm" in name}


@pytest.mark.parametrize("family", ["whisper", "conformer"])
def test_one_lora_beside_a_mixture_is_as_large(family: str) -> None:
    """Within 7 %, counted in adapters of models of the paper's sizes, which hold no numbers."""
    config = configured("librispeech", family)

    def parameters(name: str) -> int:
        spec = adapter_spec({"arm": config["arms"][name], "adapters": config["adapters"]})
        with torch.device("meta"):
            adapted = AdaptedRecogniser(recogniser(config), spec, seed=1)
        own = (adapted.expert_parameters(), adapted.router_parameters())
        return sum(tensor.numel() for each in own for tensor in each.values())

    pairs = 0
    for question in ("experts", "rank"):
        arms = config["ablation"]["questions"][question]
        for mixture, lora in zip(arms, arms[1:], strict=False):
            if config["arms"][mixture]["routed"]:
                ratio = parameters(lora) / parameters(mixture)
                assert ratio == pytest.approx(1, abs=0.07), f"{lora} beside {mixture}"
                pairs += 1
    assert pairs == 7


class Vocabulary:
    """As many tokens as Whisper base.en has."""

    size, prompt, end, pad = 51864, (50257, 50362), 50256, 50256
    never = never_first = ()

    def describe(self) -> dict:
        return {}


def recogniser(config: dict[str, Any]) -> Any:
    """The Conformer of the configuration, of letters; or a Whisper of base.en's size."""
    if config["model"]["family"] == "conformer":
        return build({"family": "conformer", "conformer": {**config["model"]["conformer"], "bpe": None}})
    sizes = {"hidden_size": 512, "encoder_layers": 6, "decoder_layers": 6, "heads": 8}
    wide = {"encoder_feed_forward": 2048, "decoder_feed_forward": 2048}
    return WhisperRecogniser({**config["model"]["whisper"], **sizes, **wide}, Vocabulary())
