"""Errors of two starts, pooled over speakers and counted by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import starts


def verdict(speaker: str, arm: str, before: list[int], after: list[int], said: str) -> dict[str, Any]:
    sentences = [
        {"utterance": f"{speaker}-{number}", "errors_before": was, "errors_after": now}
        for number, (was, now) in enumerate(zip(before, after, strict=True))
    ]
    errors = {"fp32": 3, "nf4": sum(before), arm: sum(after)}
    looped = {"fp32": 0, "nf4": 1, arm: 0}
    return {
        "speaker": speaker,
        "arm": arm,
        "words": 20,
        "errors": errors,
        "looped": looped,
        "recommendation": said,
        "sentences": sentences,
    }


def test_errors_are_pooled_over_speakers_with_both_arms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts = [
        verdict("ann", "pqm", [4, 4], [4, 4], "no difference"),
        verdict("ann", "nf4-lora", [4, 4], [2, 2], "use it"),
        verdict("ben", "pqm", [1, 1], [2, 2], "no difference"),
        verdict("ben", "nf4-lora", [1, 1], [0, 0], "use it"),
        verdict("carl", "pqm", [9], [0], "use it"),  # whose second arm is not done
    ]
    (tmp_path / "verdict.json").write_text(json.dumps(verdicts))
    starts.main(["--personalised", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.startswith("2 speakers, 4 recordings, 40 words")
    rows = [line.split() for line in printed.splitlines()]
    assert ["fp32", "6", "15.0", "0"] in rows and ["nf4", "10", "25.0", "2"] in rows
    assert ["pqm", "12", "30.0", "0", "0", "2", "0"] in rows  # errors, WER, looped, verdicts
    assert ["nf4-lora", "4", "10.0", "0", "2", "0", "0"] in rows
    # A speaker's sentences are alike, so every draw of utterances has the same sums.
    assert "pqm against nf4: reduction -20.0 [-20.0, -20.0]" in printed
    assert "nf4-lora against nf4: reduction 60.0 [60.0, 60.0]" in printed
    assert "nf4-lora against pqm: reduction 66.7 [66.7, 66.7]" in printed
    assert "by speakers [50.0, 100.0]; speakers 2 better, 0 worse, 0 equal" in printed
    assert "by speakers [-100.0, 0.0]; speakers 0 better, 1 worse, 1 equal" in printed


def test_arms_of_two_folders_stand_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, after in (("slow", [3, 3]), ("fast", [1, 2])):
        (tmp_path / folder).mkdir()
        said = [verdict("ann", "pqm", [4, 4], after, "no difference")]
        (tmp_path / folder / "verdict.json").write_text(json.dumps(said))
    starts.main(["--personalised", str(tmp_path / "slow"), str(tmp_path / "fast")])
    printed = capsys.readouterr().out
    slow, fast = (str(tmp_path / name) for name in ("slow", "fast"))
    assert f"pqm in {fast} against pqm in {slow}: reduction 50.0 [" in printed
    assert ["pqm", "in", slow, "6", "30.0", "0", "0", "1", "0"] in [
        line.split() for line in printed.splitlines()
    ]
    said[0]["sentences"].reverse()
    (tmp_path / "fast" / "verdict.json").write_text(json.dumps(said))
    with pytest.raises(SystemExit, match="ann was adapted from different recordings"):
        starts.main(["--personalised", str(tmp_path / "slow"), str(tmp_path / "fast")])


def test_without_a_folder_it_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    starts.main([])
    assert "starts: left out" in capsys.readouterr().out
