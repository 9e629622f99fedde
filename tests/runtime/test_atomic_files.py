"""Atomic writing of files."""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from saml.runtime.errors import SamlError
from saml.runtime.files import open_atomically, read_json_object, write_atomically

# Writes half a file, prints that, and waits to be killed.
WRITER = """
import sys, time
from pathlib import Path
from saml.runtime.files import open_atomically
with open_atomically(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""


def writing(path: Path) -> subprocess.Popen[str]:
    """A process that has written half of `path`."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_of_a_killed_writer_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    mine = tmp_path / ".a.json.notes"  # another file is kept, whatever its name
    mine.write_text("mine")
    killed = writing(path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len(names(tmp_path)) == 2
    write_atomically(path, b"whole")
    assert names(tmp_path) == [".a.json.notes", "a.json"]
    assert path.read_bytes() == b"whole"


def test_the_file_of_a_living_writer_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with open_atomically(path) as file:
        file.write(b"first")
        other = writing(path)
        write_atomically(path, b"second")
        assert len(names(tmp_path)) == 3
    assert path.read_bytes() == b"first"
    other.terminate()
    other.communicate()


def test_a_writer_whose_file_is_removed_before_it_is_locked_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer can take the temporary file for an orphan as long as it is not locked."""
    path, lock, removed = tmp_path / "a.json", fcntl.flock, []

    def late(handle: int, operation: int) -> None:
        if not removed:
            removed.extend(names(tmp_path))
            (tmp_path / removed[0]).unlink()
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomically(path, b"whole")
    assert len(removed) == 1
    assert names(tmp_path) == ["a.json"] and path.read_bytes() == b"whole"


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_atomically(tmp_path / "a.json") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


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
