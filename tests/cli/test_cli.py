"""The command line: light, its flags those of the stages, its errors one line."""

import argparse
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from saml.cli import main as cli
from saml.cli.arguments import json_object
from saml.cli.memory import more_memory
from saml.cli.stage_definition import Stage
from saml.cli.stage_table import STAGES


def options_of(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The names of a command's flags, as its help lists them."""
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    options = capsys.readouterr().out.partition("\nExample")[0]
    flags = re.findall(r"^ +(?:-h, )?--([a-z-]+)", options, re.MULTILINE)
    return {flag.replace("-", "_") for flag in flags} - {"help"}


def parameters_of(path: str) -> set[str]:
    """The names of the arguments of the function or class "module:name"."""
    module, _, name = path.partition(":")
    return set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_flags_are_the_stages_own_arguments(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Speakers become one, or what is each one's own; threads, family and trial are for the command alone."""
    wanted = parameters_of(stage.function)
    if stage.batch is not None:
        wanted = wanted - {stage.batch[0]} | parameters_of(stage.batch[1])
    if stage.per_speaker:
        wanted = wanted - {"speaker"} | {"speakers"}
    if not stage.sections:
        wanted -= {"settings"}
    flags = options_of(stage.name, capsys) - {"threads", "trial"}
    assert flags - ({"corpus", "family"} - set(stage.notes)) == wanted


def test_flags_of_prune_are_the_stages_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    flags = options_of("prune", capsys) - {"threads", "keep", "collapse"} | {"kept"}
    assert flags == parameters_of("saml.stages.prune:prune")


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    return capsys.readouterr().out


def test_the_help_lists_every_command_once_and_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    groups = help_of(capsys).split("\n\n")
    starts = ("Use: ", "Run: ", "Inspect: ", "Stages ")
    use, run, inspected, stages = (next(text for text in groups if text.startswith(s)) for s in starts)
    listed = {text: re.findall(r"^  ([a-z][a-z-]+) ", text, re.MULTILINE) for text in groups}
    assert set(listed[use]) == {"personalise", "transcribe", "export", "prune"}
    assert set(listed[run]) == {"doctor", "download"}
    assert {"show", "progress", "track", "mlflow"} <= set(listed[inspected])
    assert listed[stages] == list(STAGES)
    assert sorted(sum(listed.values(), [])) == sorted(all_commands())
    assert all("Example:" in text for text in (use, run, inspected, stages))


def all_commands() -> list[str]:
    """What argparse itself accepts, from its refusal of another command."""
    done = subprocess.run(
        [sys.executable, "-m", "saml.cli.main", "no-command"], capture_output=True, text=True
    )
    return re.findall(r"[a-z][a-z0-9-]+", done.stderr.rpartition("choose from")[2])


@pytest.mark.parametrize("command", sorted({*all_commands()}))
def test_every_command_has_an_example_that_its_flags_accept(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example = help_of(capsys, command).partition("\nExample")[2].partition(":\n")[2]
    lines = [line for line in example.replace("\\\n", " ").splitlines() if line.startswith("saml ")]
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line)
        accepted = cli.command_line().parse_args(arguments)
        assert accepted.command == ("quantise" if command in STAGES else command)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, saml.cli.main as c\ntry: c.main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "lhotse", "pandas", "mlflow", "transformers", "numpy", "yaml"}


def test_an_error_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["quantise", "--experiment", "e", "--settings", '{"quantisation": {}}']
    for name in ("weights", "description", "out-weights", "out-description", "record"):
        arguments += [f"--{name}", str(tmp_path / name)]
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    line = f"{tmp_path / 'weights'}: no such file; run the stage that writes it again"
    assert error == f"saml quantise: error: {line}\n"


def test_only_stages_that_open_a_given_checkpoint_may_ask_the_hub(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stage leaves in the environment, which the hub's library reads; a user's own value stays."""

    def offline_after(command: str, settings: dict[str, object], *names: str) -> str | None:
        arguments = [command, "--experiment", "e", "--settings", json.dumps(settings)]
        arguments += [
            f"--{name}={tmp_path / name}" for name in (*names, "out-weights", "out-description", "record")
        ]
        assert cli.main(arguments) == 1
        return os.environ.get("HF_HUB_OFFLINE")

    model = {"family": "whisper", "whisper": {"checkpoint": str(tmp_path / "no"), "characters": None}}
    for given in (None, "0", "1"):
        monkeypatch.setenv("HF_HUB_OFFLINE", given or "")
        if given is None:
            monkeypatch.delenv("HF_HUB_OFFLINE")
        assert offline_after("import-base", {"model": model}) == given
        assert offline_after("quantise", {"quantisation": {}}, "weights", "description") == (given or "1")
    assert "there is no folder" in capsys.readouterr().err
    downloading = {stage.name for stage in STAGES.values() if stage.downloads}
    assert downloading == {"import-base", "prepare-pool", "prepare-speaker"}


def test_settings_from_a_file_and_what_they_must_be(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"a": 1}))
    assert json_object(f"@{path}") == json_object('{"a": 1}') == json_object("{a: 1}") == {"a": 1}
    for wrong in ("[1]", "{"):
        with pytest.raises(argparse.ArgumentTypeError, match="not a JSON object"):
            json_object(wrong)
    with pytest.raises(argparse.ArgumentTypeError, match=r"^@nowhere: cannot read this file \(No such"):
        json_object("@nowhere")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "--settings: section 'corpus' is missing; it needs corpus"),
        ({"corpus": 3}, "--settings: section 'corpus' must be a JSON object of keys and values"),
        ({"corpus": {}}, "corpus.name: this key is missing in the JSON object"),
        ({"corpus": {"name": "folder"}}, "corpus.folder: this key is missing in the JSON object"),
        ({"corpus": {"name": "folder", "folder": {}}}, "corpus.folder.root: this key is missing"),
    ],
)
def test_settings_that_lack_something(
    settings: dict[str, object], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prepare-corpus", "--experiment", "e", "--settings", json.dumps(settings)]
    for name in ("recordings", "supervisions", "dropped", "audio", "record"):
        arguments += [f"--{name}", str(tmp_path / name)]
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err.startswith(f"saml prepare-corpus: error: {says}")


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("train-base", "give the job more, or lower base_training.batch_seconds"),
        ("pretrain", "give the job more, or lower pretraining.batch_utterances"),
        ("decode", "give the job more, or lower decoding.batch_seconds"),
        ("quantise", "give the job more"),
        ("transcribe", "give --memory low, or lower --beams"),
        ("show", "use a machine with more"),
    ],
)
def test_advice_about_memory_names_what_the_command_has(command: str, advice: str) -> None:
    assert more_memory(command) == advice
