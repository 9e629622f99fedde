"""Labels in the style of a model, as the stage writes them."""

from pathlib import Path

import pytest
from lhotse import CutSet

from saml.config.settings import DecodingSettings
from saml.corpora.labels import in_models_style, is_formatted
from saml.decoding.transcription import best_outputs
from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
from saml.models.store import load_model, save_model
from saml.runtime.errors import SamlError
from saml.stages.label import label
from saml.tracking import read_record
from tests.models.conftest import save_bpe_checkpoint, section
from tests.training.conftest import write_pool

DECODING = {"beams": 2, "batch_seconds": 20, "max_tokens_per_second": 9.0, "ctc_weight": 0.0, "guard": False}


@pytest.fixture
def family() -> str:
    return "whisper"


def imported(folder: Path, **changes: str) -> Path:
    """The weights of a small Whisper with a vocabulary of its own."""
    model = section(save_bpe_checkpoint(folder / "bpe"), characters=None, **changes)
    weights = folder / "model.safetensors"
    save_model(read_recogniser(open_checkpoint(model)), weights, folder / "model.json")
    return weights


def run(weights: Path, pool: Path) -> Path:
    label(
        experiment="test",
        settings={"decoding": DECODING},
        whose="pretrain",
        weights=weights,
        description=weights.with_suffix(".json"),
        cuts=pool,
        labelled=pool.parent / "labelled.jsonl.gz",
        record=pool.parent / "run.jsonl",
    )
    return pool.parent / "labelled.jsonl.gz"


def test_texts_are_transcripts_in_the_form_of_the_models_output(tmp_path: Path) -> None:
    weights = imported(tmp_path, text_style="model")
    pool = write_pool(tmp_path / "pool", ["a", "b"], ["train", "dev"], padded=140)
    given = list(CutSet.from_file(pool))
    model, _ = load_model(weights, weights.with_suffix(".json"))
    outputs = best_outputs(model, given, DecodingSettings(**DECODING), whole_context=True)  # type: ignore[arg-type]
    found = list(CutSet.from_file(run(weights, pool)))
    assert [cut.id for cut in found] == [cut.id for cut in given]
    for cut, before, output in zip(found, given, outputs, strict=True):
        transcript = before.supervisions[0].text
        assert cut.supervisions[0].text == in_models_style(transcript, output.text)
        assert is_formatted(cut.supervisions[0].text)
        assert cut.supervisions[0].custom["transcript"] == transcript
        assert cut.features.storage_key == before.features.storage_key
    assert read_record(pool.parent / "run.jsonl").scores["utterances"] == len(given)


def test_a_model_without_capitals_has_no_style(tmp_path: Path) -> None:
    weights = imported(tmp_path, text_style="plain")
    pool = write_pool(tmp_path / "pool", ["a"], ["train"], padded=140)
    with pytest.raises(SamlError, match="writes no capitals; set model.whisper.text_style to plain"):
        run(weights, pool)
