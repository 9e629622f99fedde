"""Libraries that are asked for and cannot be had."""

import sys
from pathlib import Path

import pytest

from saml.compat.optional import load
from saml.runtime.errors import SamlError


def test_what_is_there_is_given() -> None:
    assert load("json.decoder", "a setting", "another").JSONDecoder


def test_what_is_not_there_is_named_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "k2", None)
    with pytest.raises(SamlError) as caught:
        load("k2", "ctc_backend: k2", "torch")
    text = str(caught.value)
    assert text.startswith("ctc_backend: k2 wants k2, which cannot be imported (")
    assert text.endswith("environment.yaml says how to get it; or say torch") and "\n" not in text


def test_what_was_built_for_another_torch_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenbuild.py").write_text("raise OSError('undefined symbol: _ZN\\nmore')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SamlError, match=r"cannot be imported \(undefined symbol: _ZN\): "):
        load("brokenbuild.part", "a setting", "another")


def test_a_base_training_misses_at_once_what_it_would_need_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saml.stages.train_base import train_base

    monkeypatch.setitem(sys.modules, "icefall", None)
    paths = {name: tmp_path / name for name in ("cuts", "out_weights", "out_description", "record")}
    settings = {"model": {"family": "conformer"}, "base_training": {"average_by": "icefall"}}
    with pytest.raises(
        SamlError, match=r"^base_training\.average_by wants icefall, which cannot be imported"
    ):
        train_base(experiment="test", settings=settings, **paths)
