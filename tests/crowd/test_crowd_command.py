"""The command `saml crowd`: the command lines of adapt and decode, for several speakers."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from saml.cli import main as cli
from saml.stages import adapt as stage
from saml.stages import decode
from saml.stages.adapt import Speaker
from saml.stages.decode import Decoding

# What the stages have alike.
COMMON = {
    "experiment": "e",
    "arm": "pqm",
    "speaker": "%speaker%",
    "seed": "1",
    "weights": "model.safetensors",
    "description": "model.json",
    "cuts": "%speaker%/cuts.jsonl.gz",
    "splits": "%speaker%/splits.json",
    "record": "%speaker%/run.jsonl",
}
FLAGS = {
    **COMMON,
    "out-adapter": "%speaker%/adapter.safetensors",
    "out-description": "%speaker%/adapter.json",
    "work": ".work/%speaker%",
    "settings": json.dumps({"arm": {}, "adapters": {}, "adaptation": {}, "partition": {}}),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the stage was called with."""
    found: list[dict[str, Any]] = []
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(stage, "adapt_crowd", lambda **options: found.append(options))
    return found


def crowd(*speakers: str, what: str = "adapt", more: tuple[str, ...] = (), **changes: str) -> int:
    flags = {**FLAGS, **changes}
    command = [f"--{name}={value}" for name, value in flags.items() if value]
    return cli.main(["crowd", "--speakers", *speakers, "--", what, *command, *more])


def test_speakers_have_their_own_files_and_share_the_rest(calls: list[dict[str, Any]]) -> None:
    assert crowd("u", "b%2Fc") == 0
    (options,) = calls
    assert options["speakers"][1] == Speaker(
        speaker="b/c",
        cuts=Path("b%2Fc/cuts.jsonl.gz"),
        splits=Path("b%2Fc/splits.json"),
        out_adapter=Path("b%2Fc/adapter.safetensors"),
        out_description=Path("b%2Fc/adapter.json"),
        record=Path("b%2Fc/run.jsonl"),
    )
    assert [speaker.speaker for speaker in options["speakers"]] == ["u", "b/c"]
    assert options["work"] == Path(".work/u") and options["seed"] == 1


def test_the_stage_takes_what_the_command_gives(calls: list[dict[str, Any]], monkeypatch: Any) -> None:
    crowd("u")
    monkeypatch.undo()
    assert set(inspect.signature(stage.adapt_crowd).parameters) == set(calls[0])


DECODE = {
    **COMMON,
    "heldout-cuts": "heldout.jsonl.gz",
    "adapter": "%speaker%/adapter.safetensors",
    "adapter-description": "%speaker%/adapter.json",
    "adaptation-record": "%speaker%/adaptation.jsonl",
    "hypotheses": "%speaker%/hypotheses.jsonl",
    "settings": json.dumps({"arm": {}, "decoding": {}, "scoring": {}}),
}


def test_decoding_is_given_everybodys_files(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, Any]] = []
    with monkeypatch.context() as patch:
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(variable, "1")
        patch.setattr(decode, "decode_crowd", lambda **options: found.append(options))
        command = [f"--{name}={value}" for name, value in DECODE.items()]
        assert cli.main(["crowd", "--speakers", "u", "b%2Fc", "--", "decode", *command]) == 0
        # The bare model has no adapters.
        bare = [word for word in command if not word.startswith("--adapt")]
        assert cli.main(["crowd", "--speakers", "u", "v", "--", "decode", *bare]) == 0
    assert set(inspect.signature(decode.decode_crowd).parameters) == set(found[0]) == set(found[1])
    assert found[0]["decodings"][1] == Decoding(
        speaker="b/c",
        cuts=Path("b%2Fc/cuts.jsonl.gz"),
        splits=Path("b%2Fc/splits.json"),
        adapter=Path("b%2Fc/adapter.safetensors"),
        adapter_description=Path("b%2Fc/adapter.json"),
        adaptation_record=Path("b%2Fc/adaptation.jsonl"),
        hypotheses=Path("b%2Fc/hypotheses.jsonl"),
        record=Path("b%2Fc/run.jsonl"),
    )
    assert found[0]["heldout_cuts"] == found[1]["heldout_cuts"] == Path("heldout.jsonl.gz")
    assert [one.adapter for one in found[1]["decodings"]] == [None, None]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"what": "routes"}, "only adapt and decode can be done for several speakers at once; use each"),
        ({"weights": "%speaker%/model"}, "--weights: it must be the same for all speakers of a crowd"),
        ({"settings": "{}"}, "section 'arm' is missing"),
        ({"more": ("--trial",)}, "--trial: learning rates are tried speaker by speaker"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split(":")[0],
)
def test_what_cannot_be_done_is_one_line(
    given: dict[str, Any], said: str, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert crowd("u", "v", **given) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not calls
