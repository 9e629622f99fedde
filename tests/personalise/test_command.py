"""The whole command on somebody else's Whisper, and what a second start does."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from saml.config.load import load, stage_settings
from saml.corpora.manifests import read_cuts
from saml.personalise import resume, steps
from saml.personalise.own_recordings import personalise
from saml.personalise.resume import Step
from saml.personalise.verdict import EXIT_STATUS
from saml.runtime.errors import SamlError
from saml.stages.label import label
from tests.models.conftest import save_bpe_checkpoint

TEXTS = ["it's the cat", "the cat sat", "on the mat", "the cat's hat", "that cat", "the hat"]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Six recordings of noise with a text beside each: one speaker, called as the folder."""
    folder = tmp_path / "ann"
    folder.mkdir()
    chance = np.random.default_rng(1)
    for index, text in enumerate(TEXTS):
        soundfile.write(folder / f"{index}.wav", 0.1 * chance.standard_normal(12_000), 16_000)
        (folder / f"{index}.txt").write_text(text + "\n")
    return folder


@pytest.mark.slow
def test_a_whisper_is_personalised_judged_and_not_adapted_twice(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checkpoint = save_bpe_checkpoint(tmp_path / "whisper", max_source_positions=1500)
    out = tmp_path / "out"
    given = {"base": str(checkpoint), "recordings": recordings, "out": out, "folds": 3, "always": True}

    def never(**options: object) -> None:
        raise AssertionError("done before")

    monkeypatch.setattr(steps, "label", never)  # the arm fp32 has transcribed the recordings
    status = personalise(**given)  # type: ignore[arg-type]
    printed = capsys.readouterr()
    (verdict,) = json.loads((out / "verdict.json").read_text())
    assert status == EXIT_STATUS[verdict["recommendation"]]
    assert verdict["speaker"] == "ann" and verdict["arm"] == "nf4-lora" and len(verdict["sentences"]) == 6
    assert set(verdict["errors"]) == {"fp32", "nf4", "nf4-lora"}
    assert "no adapter that was pre-trained on other speakers is shipped" in printed.err
    before, _, after = printed.err.partition("this will take about 1 minute here")
    assert "ann: 6 recordings, 4 s, 16 words" in before and str(out) in before and "decoding" in after
    assert f"{verdict['words']} words wrong" in printed.out
    assert labels_of(out) == labelled_again(out, tmp_path / "again.jsonl.gz")
    assert (out / "report.html").read_text().count("<audio") == 6
    adapter = out / "adapters/ann/nf4-lora/seed1/adapter.safetensors"
    assert adapter.is_file()

    for name in ("adapt", "decode"):
        monkeypatch.setattr(steps, name, never)
    assert personalise(**given) == status  # type: ignore[arg-type]
    assert "all of it is done already" in capsys.readouterr().err
    (recordings / "5.txt").write_text("the mat\n")
    with pytest.raises(AssertionError, match="done before"):
        personalise(**given)  # type: ignore[arg-type]
    with pytest.raises(SamlError, match="no adapter is shipped for this model"):
        personalise(**given, start="shipped")  # type: ignore[arg-type]
    with pytest.raises(
        SamlError, match="--arms: saml has nothing to start from with this Whisper; choose nf4-"
    ):
        personalise(**given, arms=["saml"])  # type: ignore[arg-type]


def labels_of(out: Path, file: Path = Path("data/speakers/ann/labelled.jsonl.gz")) -> list[str]:
    """What the adapters were trained to write."""
    return [cut.supervisions[0].text for cut in read_cuts(out / file)]


def labelled_again(out: Path, labelled: Path) -> list[str]:
    """The labels of the stage `label`, which transcribes by itself."""
    (results,) = (labelled.parent / "cache/saml").iterdir()
    label(
        experiment="",
        settings=stage_settings(load([out / "config.yaml"]), ["decoding"]),
        whose="ann",
        weights=results / "models/base/model.safetensors",
        description=results / "models/base/model.json",
        cuts=out / "data/speakers/ann/cuts.jsonl.gz",
        labelled=labelled,
        record=labelled.parent / "run.jsonl",
    )
    return labels_of(out, labelled)


def test_a_step_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    given, output, calls = tmp_path / "in", tmp_path / "out", []
    given.write_text("1")

    def step() -> None:
        calls.append(1)
        output.write_text("result")

    for _ in range(2):
        Step(output, {"rate": 1}, [given], step).do()
    assert len(calls) == 1
    Step(output, {"rate": 2}, [given], step).do()
    given.write_text("2")
    Step(output, {"rate": 2}, [given], step).do()
    output.unlink()
    Step(output, {"rate": 2}, [given], step).do()
    assert len(calls) == 4


def test_what_another_version_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out"
    step = Step(output, {}, [], lambda: output.write_text("result"))
    step.do()
    assert step.is_done()
    monkeypatch.setattr(resume, "__version__", "0.0.1")
    assert not step.is_done()


def test_only_an_outdated_output_is_removed(tmp_path: Path) -> None:
    given, output = tmp_path / "in", tmp_path / "adapter.safetensors"
    given.write_text("1")
    step = Step(output, {}, [given], lambda: output.write_text("result"))
    step.do()
    output.with_suffix(".json").write_text("{}")
    step.remove_outdated()
    assert output.is_file()
    given.write_text("2")
    step.remove_outdated()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    step.remove_outdated()  # nothing is left to remove


def test_a_step_that_failed_is_done_again(tmp_path: Path) -> None:
    output = tmp_path / "out"
    Step(output, {}, [], lambda: output.write_text("old")).do()

    def fails() -> None:
        raise SamlError("stopped")

    with pytest.raises(SamlError):
        Step(output, {"rate": 2}, [], fails).do()
    calls: list[int] = []
    Step(output, {}, [], lambda: calls.append(1)).do()  # the old result is not trusted any more
    assert calls
