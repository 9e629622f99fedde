"""The command line: light, its flags those of the stages, its errors one line."""

import argparse
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from saml.cli import main as cli
from saml.cli.arguments import settings
from saml.cli.stage_table import STAGES, Stage


def options_of(command: str) -> set[str]:
    """The names that a command hands on, as argparse stores them."""
    parser = cli._parser()
    choices = next(a for a in parser._actions if a.dest == "command").choices
    return {action.dest for action in choices[command]._actions} - {"help"}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_flags_are_the_stages_own_arguments(stage: Stage) -> None:
    module, _, name = stage.function.partition(":")
    wanted = set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    handed_on = options_of(stage.name) - {"threads", "family", "trial"}
    handed_on -= set() if stage.takes_corpus else {"corpus"}
    assert handed_on == wanted


@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("prune", "stages.prune:prune"),
        ("ablation", "reporting.ablation:ablation"),
        ("pruning", "reporting.pruning:pruning"),
        ("embeddings", "reporting.embeddings:embeddings"),
    ],
)
def test_flags_of_commands_that_are_no_stages(command: str, function: str) -> None:
    module, _, name = function.partition(":")
    wanted = set(inspect.signature(getattr(importlib.import_module(f"saml.{module}"), name)).parameters)
    assert options_of(command) - {"threads"} == wanted


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
    assert error == f"saml quantise: error: {tmp_path / 'description'}: no such file; make it again\n"


def test_settings_from_a_file_and_what_they_must_be(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"a": 1}))
    assert settings(f"@{path}") == settings('{"a": 1}') == {"a": 1}
    for wrong in ("[1]", "{", "@nowhere"):
        with pytest.raises(argparse.ArgumentTypeError, match="not a JSON object"):
            settings(wrong)


def test_a_missing_section_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prepare-corpus", "--experiment", "e", "--settings", "{}"]
    for name in ("recordings", "supervisions", "dropped", "audio", "record"):
        arguments += [f"--{name}", name]
    assert cli.main(arguments) == 1
    assert "section 'corpus' is missing" in capsys.readouterr().err
