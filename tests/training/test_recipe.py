"""The recipe of a large Conformer, tiny: subwords, speeds, averaging, through the stages to hypotheses."""

import json
from pathlib import Path
from typing import Any

import pytest
from lhotse import CutSet

from saml.config.load import load, stage_settings, validate
from saml.models.store import load_model
from saml.stages.prepare import prepare_corpus, prepare_pool, prepare_speaker
from saml.stages.quantise import quantise
from saml.stages.train_base import train_base
from saml.tracking import read_record
from tests.training.conftest import adapt_one, decode_one

ROOT = Path(__file__).parents[2]
SPEAKER = "de_f2_r155_p55"


@pytest.fixture
def config() -> dict[str, Any]:
    """The tiny configuration with the keys of the recipe, and even fewer people."""
    config = load([ROOT / "config/config.yaml", ROOT / "tests/configurations/tiny.yaml"])
    config["model"]["conformer"]["bpe"] = 60
    config["base_training"] |= {
        "epochs": 3,
        "average": 2,
        "schedule": "inverse_sqrt",
        "speed_perturbation": [0.9, 1.0, 1.1],
        "precision": "auto",
    }
    config["corpus"]["spoken_commands"] |= {
        "base": {"voices": 3, "sentences": 5, "dev_voices": 1},
        "target": {"train": 2, "dev": 1, "test": 2},
    }
    validate(config, ROOT / "workflow/schemas/config.schema.yaml")
    return config


def test_from_speech_to_hypotheses(config: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)

    def settings(*sections: str, arm: str | None = None) -> dict[str, Any]:
        return {"experiment": "tiny", "settings": stage_settings(config, sections, arm)}

    corpus = {name: Path(f"{name}.jsonl.gz") for name in ("recordings", "supervisions")}
    prepare_corpus(
        **settings("corpus"), **corpus, dropped=Path("d.tsv"), audio=Path("audio"), record=Path("c.run.jsonl")
    )
    prepare_pool(
        **settings("corpus", "model", "base_training.speed_perturbation"),
        **corpus,
        role="base",
        **{"cuts": Path("base.jsonl.gz"), "features": Path("base.bin"), "dropped": Path("b.tsv")},
        record=Path("b.run.jsonl"),
    )
    cuts = list(CutSet.from_file("base.jsonl.gz"))
    assert sorted(cut.custom["part"] for cut in cuts) == ["dev"] * 5 + ["train"] * 30
    assert {cut.id.partition("_sp")[2] for cut in cuts if cut.custom["part"] == "train"} == {"", "0.9", "1.1"}
    assert all("_sp" not in cut.id for cut in cuts if cut.custom["part"] == "dev")
    assert all(abs(cut.num_frames - 100 * cut.duration) <= 1 for cut in cuts)
    assert read_record(Path("b.run.jsonl")).scores["utterances"] == 15
    speech = {"cuts": Path("target.jsonl.gz"), "splits": Path("splits.json")}
    prepare_speaker(
        **settings("corpus", "model", "partition"),
        **corpus,
        **speech,
        speaker=SPEAKER,
        features=Path("target.bin"),
        dropped=Path("t.tsv"),
        audio=Path("target"),
        record=Path("t.run.jsonl"),
    )
    for name in ("base", "again"):
        train_base(
            **settings("model", "base_training"),
            cuts=Path("base.jsonl.gz"),
            out_weights=Path(f"{name}.safetensors"),
            out_description=Path(f"{name}.json"),
            record=Path(f"{name}.run.jsonl"),
        )
    for kind in ("safetensors", "json"):
        assert Path(f"base.{kind}").read_bytes() == Path(f"again.{kind}").read_bytes()
    assert read_record(Path("base.run.jsonl")).scores["dev/averaged"] == 2
    quantise(
        **settings("quantisation"),
        weights=Path("base.safetensors"),
        description=Path("base.json"),
        out_weights=Path("nf4.safetensors"),
        out_description=Path("nf4.json"),
        record=Path("nf4.run.jsonl"),
    )
    # From here on nothing of the base's speech or texts is needed.
    Path("base.jsonl.gz").unlink()
    recogniser, content = load_model(Path("nf4.safetensors"), Path("nf4.json"))
    tokeniser = recogniser.tokeniser
    assert content["tokeniser"]["kind"] == "subwords" and tokeniser.size == 60
    assert tokeniser.decode(tokeniser.encode("set blue in z nine")) == "set blue in z nine"
    model = {"weights": Path("nf4.safetensors"), "description": Path("nf4.json")}
    adapt_one(
        **settings("arm", "adapters", "adaptation", "partition.enrolment", arm="nf4-lora"),
        **{"arm": "nf4-lora", "speaker": SPEAKER, "seed": 1},
        **model,
        **speech,
        out_adapter=Path("adapter.safetensors"),
        out_description=Path("adapter.json"),
        record=Path("adapter.run.jsonl"),
    )
    decode_one(
        **settings("arm", "decoding", "scoring.scorers", arm="nf4-lora"),
        **{"arm": "nf4-lora", "speaker": SPEAKER, "seed": 1},
        **model,
        **speech,
        adapter=Path("adapter.safetensors"),
        adapter_description=Path("adapter.json"),
        hypotheses=Path("hypotheses.jsonl"),
        record=Path("decode.run.jsonl"),
    )
    lines = [json.loads(line) for line in Path("hypotheses.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and all(line["counts"]["released"]["words"] for line in lines)
