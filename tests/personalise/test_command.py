"""The whole command on somebody else's Whisper, and what a second start does."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from saml.personalise import steps
from saml.personalise.own_recordings import personalise
from saml.personalise.resume import once
from saml.personalise.verdict import EXIT_STATUS
from saml.runtime.errors import SamlError
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
    status = personalise(**given)  # type: ignore[arg-type]
    printed = capsys.readouterr()
    (verdict,) = json.loads((out / "verdict.json").read_text())
    assert status == EXIT_STATUS[verdict["recommendation"]]
    assert verdict["speaker"] == "ann" and verdict["arm"] == "nf4-lora" and len(verdict["sentences"]) == 6
    assert set(verdict["errors"]) == {"fp32", "nf4", "nf4-lora"}
    assert "no adapter that was pre-trained on other speakers is shipped" in printed.err
    assert "6 recordings" in printed.err and f"{verdict['words']} words wrong" in printed.out
    assert (out / "report.html").read_text().count("<audio") == 6
    adapter = out / "adapters/ann/nf4-lora/seed1/adapter.safetensors"
    assert adapter.is_file()

    def never(**options: object) -> None:
        raise AssertionError("done before")

    for name in ("adapt", "decode", "label"):
        monkeypatch.setattr(steps, name, never)
    assert personalise(**given) == status  # type: ignore[arg-type]
    (recordings / "5.txt").write_text("the mat\n")
    with pytest.raises(AssertionError, match="done before"):
        personalise(**given)  # type: ignore[arg-type]
    with pytest.raises(SamlError, match="no adapter is shipped for this model"):
        personalise(**given, start="shipped")  # type: ignore[arg-type]


def test_a_step_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    given, output, calls = tmp_path / "in", tmp_path / "out", []
    given.write_text("1")

    def step() -> None:
        calls.append(1)
        output.write_text("result")

    for _ in range(2):
        once(output, {"rate": 1}, [given], step)
    assert len(calls) == 1
    once(output, {"rate": 2}, [given], step)
    given.write_text("2")
    once(output, {"rate": 2}, [given], step)
    output.unlink()
    once(output, {"rate": 2}, [given], step)
    assert len(calls) == 4


def test_a_step_that_failed_is_done_again(tmp_path: Path) -> None:
    output = tmp_path / "out"
    once(output, {}, [], lambda: output.write_text("old"))

    def fails() -> None:
        raise SamlError("stopped")

    with pytest.raises(SamlError):
        once(output, {"rate": 2}, [], fails)
    calls: list[int] = []
    once(output, {}, [], lambda: calls.append(1))  # the old result is not trusted any more
    assert calls
