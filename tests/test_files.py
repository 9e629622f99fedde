"""Files that are whole or absent."""

from pathlib import Path

import pytest

from saml.errors import SamlError
from saml.files import read_json_object


def test_an_object_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"naïve": [1, null]}'.encode())
    assert read_json_object(path) == {"naïve": [1, None]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[1]", "not a JSON object"),
    ],
)
def test_anything_else_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SamlError) as caught:
        read_json_object(path, "make it again")
    line = str(caught.value)
    assert line.startswith(f"{path}: {message}") and line.endswith("; make it again")
    with pytest.raises(SamlError, match=f"{message}(?!.*again)"):
        read_json_object(path)
