"""Stages for one or many speakers: `--speakers a b c`, with `{speaker}` in paths."""

import json
from pathlib import Path
from typing import Any

import pytest

from saml.cli import main as cli
from saml.stages.adapt import Speaker
from saml.stages.decode import Decoding

SPEAKERS = ["anna", "b/ö"]
FOLDERS = ["anna", "b%2F%C3%B6"]
EMPTY = {name: {} for name in ("arm", "adapters", "adaptation", "partition", "decoding", "scoring")}
COMMON = ["--experiment", "e", "--settings", json.dumps(EMPTY), "--arm", "saml", "--seed", "1"]
COMMON += ["--weights", "w", "--description", "d", "--threads", "1"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The keyword arguments that stages are called with."""
    found: list[dict[str, Any]] = []
    for stage in ("adapt.adapt", "decode.decode", "routes.routes", "embed.encode"):
        monkeypatch.setattr(f"saml.stages.{stage}", lambda **options: found.append(options))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    return found


def adapt(*speakers: str, out: str = "{speaker}/a", more: tuple[str, ...] = ()) -> int:
    paths = ["--cuts", "{speaker}/c", "--splits", "{speaker}/s", "--out-adapter", out]
    paths += ["--out-description", "{speaker}/d", "--record", "{speaker}/r", "--adapter", "pretrained"]
    return cli.main(["adapt", *COMMON, *paths, "--speakers", *speakers, *more])


def test_adaptation_takes_all_speakers_at_once(calls: list[dict[str, Any]]) -> None:
    assert adapt(*SPEAKERS) == 0
    (call,) = calls
    assert call["speakers"] == [
        Speaker(speaker, *(Path(folder, name) for name in "csadr"))
        for speaker, folder in zip(SPEAKERS, FOLDERS, strict=True)
    ]
    assert call["adapter"] == Path("pretrained") and call["adapter_description"] is None
    assert call["arm"] == "saml" and "trial" not in call and "threads" not in call


def test_one_speaker_needs_no_template(calls: list[dict[str, Any]]) -> None:
    assert adapt("anna", out="here") == 0
    assert calls[0]["speakers"][0].out_adapter == Path("here")


def test_several_speakers_must_not_write_one_file(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert adapt(*SPEAKERS, out="here") == 1
    assert capsys.readouterr().err == (
        "saml adapt: error: --out-adapter: with several speakers the path must contain {speaker}\n"
    )
    assert calls == []


def test_a_trial_is_of_one_speaker(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert adapt(*SPEAKERS, more=("--trial",)) == 1
    assert "--trial: give one speaker" in capsys.readouterr().err
    assert adapt("anna", more=("--trial",)) == 0 and len(calls) == 1


def test_decoding_with_and_without_speakers(calls: list[dict[str, Any]]) -> None:
    """Flags of optional inputs may stand without a value, as in the rules' commands."""
    command = ["decode", *COMMON, "--record", "{speaker}/r", "--hypotheses", "{speaker}/h", "--adapter"]
    cuts = ["--cuts", "{speaker}/c", "--splits", "{speaker}/s", "--heldout-cuts"]
    assert cli.main([*command, *cuts, "--speakers", *SPEAKERS]) == 0
    assert cli.main([*command, "--heldout-cuts", "pool", "--cuts", "--splits", "--speakers"]) == 0
    speakers, heldout = calls
    assert [(one.speaker, one.cuts) for one in speakers["decodings"]] == [
        (speaker, Path(folder, "c")) for speaker, folder in zip(SPEAKERS, FOLDERS, strict=True)
    ]
    assert all(one.adapter is None for one in speakers["decodings"]) and speakers["heldout_cuts"] is None
    files = {"hypotheses": Path("{speaker}/h"), "record": Path("{speaker}/r")}
    assert heldout["decodings"] == [Decoding(**files)] and heldout["heldout_cuts"] == Path("pool")


@pytest.mark.parametrize(("stage", "output"), [("routes", "routes"), ("encode", "embeddings")])
def test_other_stages_take_one_speaker_after_another(
    stage: str, output: str, calls: list[dict[str, Any]]
) -> None:
    files = ["--cuts", "{speaker}/c", f"--{output}", "{speaker}/x", "--record", "{speaker}/r"]
    files += ["--adapter", "a", "--adapter-description", "b"]
    files += ["--splits", "{speaker}/s"] if stage == "encode" else []
    assert cli.main([stage, *COMMON, *files, "--speakers", *SPEAKERS]) == 0
    assert [(call["speaker"], call[output]) for call in calls] == [
        (speaker, Path(folder, "x")) for speaker, folder in zip(SPEAKERS, FOLDERS, strict=True)
    ]
