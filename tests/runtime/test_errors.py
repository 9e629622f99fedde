"""Errors in one line."""

from pathlib import Path

import pytest

from saml.runtime.errors import Diverged, SamlError, about, in_one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SamlError("a.json: not JSON"), "a.json: not JSON"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (OSError(28, "No space left on device", "out.bin"), "out.bin: No space left on device"),
        (FileExistsError(17, "File exists", "out"), "out: this file is in the place of a folder"),
        (RuntimeError("shapes do not match"), None),
        (KeyError("speaker"), None),
    ],
)
def test_only_errors_that_a_user_can_correct_have_a_line(error: Exception, line: str | None) -> None:
    found = in_one_line(error)
    assert (found is None) if line is None else (found is not None and found.startswith(line))


def test_advice_about_memory_is_that_of_the_command() -> None:
    assert in_one_line(MemoryError(), more_memory="lower --beams") == "out of memory: lower --beams"


def test_about_adds_the_file_once_and_keeps_the_type() -> None:
    with pytest.raises(Diverged, match=r"^a\.bin: wrong shape$"), about(Path("a.bin")):
        raise Diverged("wrong shape")
    for message in ("a.bin is damaged", "b.json is damaged"):
        with pytest.raises(SamlError, match=f"^{message}$"), about(Path("a.bin"), Path("b.json")):
            raise SamlError(message)
