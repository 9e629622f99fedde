"""Home folders and variables in paths."""

from pathlib import Path

import pytest

from saml.runtime.errors import SamlError
from saml.runtime.paths import expand


def test_home_and_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("SPEECH", "/data")
    assert expand("~/speech", "k") == "/home/anna/speech"
    assert expand("$SPEECH/a", "k") == expand("${SPEECH}/a", "k") == "/data/a"
    assert expand("speech", "k") == "speech"


def test_an_undefined_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    for named in ("$NOWHERE/a", "${NOWHERE}/a"):
        with pytest.raises(
            SamlError,
            match=r"^corpus.folder.root: \S+ names the environment variable NOWHERE, which is not set;",
        ):
            expand(named, "corpus.folder.root")
    monkeypatch.chdir(tmp_path)
    Path("my $NOWHERE").mkdir()
    assert expand("my $NOWHERE", "k") == "my $NOWHERE"
