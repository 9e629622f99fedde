"""The benchmark of one adapter in all runtimes: honest folds, and what is not there."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import runtimes


def speech(folder: Path) -> Any:
    """Three recordings in two folds, and files for the model and the adapter."""
    weights, adapter = folder / "nf4" / "model.safetensors", folder / "adapter.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(bytes(100))
    adapter.write_bytes(bytes(20))
    return SimpleNamespace(
        speaker="ann",
        seconds=3.0,
        beams=4,
        references={"a": "It's Tom", "b": "oh yes", "c": "no"},
        files={name: f"{name}.wav" for name in "abc"},
        tests=[["a", "c"], ["b"]],
        cuts=folder / "cuts.jsonl.gz",
        weights=weights,
        adapter=adapter,
    )


def test_each_recording_is_heard_by_the_fold_that_has_not_seen_it(tmp_path: Path) -> None:
    own = speech(tmp_path)
    ours = runtimes.WAYS["saml, NF4"]
    models = list(runtimes._models(ours, own, True, tmp_path))
    found = {name: model["fold"] for model in models for name in model["recordings"]}
    assert found == {"a": 0, "c": 0, "b": 1}
    assert {model["adapter"] for model in models} == {str(own.adapter)}
    (bare,) = runtimes._models(ours, own, False, tmp_path)
    assert sorted(bare["recordings"]) == ["a", "b", "c"] and bare["adapter"] is None
    # 100 bytes of the model, and one of two folds of 20.
    assert [runtimes._size(model) for model in (bare, models[0])] == [100, 110]


def test_errors_are_counted_without_capitals_and_marks() -> None:
    wrong = runtimes.errors_of({"a": "IT IS TOM", "b": "oh yes"}, {"a": "It is Tom.", "b": "oh yes, yes"})
    assert wrong == (1, 5)


def test_what_is_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtimes, "prepare", lambda options: None)
    monkeypatch.setattr(runtimes, "Speech", lambda options: speech(tmp_path))
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "measured.json"
    runtimes.main([str(tmp_path), "--only", "whisper.cpp, q8_0", "--json", str(path)])
    assert "whisper.cpp, q8_0: left out, pywhispercpp and gguf not installed" in capsys.readouterr().out
    assert json.loads(path.read_text())["rows"] == []


def test_without_a_personalisation_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    runtimes.main([])
    assert "left out" in capsys.readouterr().out
