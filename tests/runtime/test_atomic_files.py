"""Files that are whole or absent."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from saml.runtime import files
from saml.runtime.errors import SamlError
from saml.runtime.files import open_atomically, read_json_object, write_atomically

# Writes half a file, says so, and waits for what comes.
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


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    mine = tmp_path / ".a.json.notes"  # somebody's own file stays, whatever it is called
    mine.write_text("mine")
    killed = writing(path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len(names(tmp_path)) == 2
    write_atomically(path, b"whole")
    assert names(tmp_path) == [".a.json.notes", "a.json"]
    assert path.read_bytes() == b"whole"


def test_what_a_living_writer_has_so_far_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with open_atomically(path) as file:
        file.write(b"first")
        other = writing(path)
        write_atomically(path, b"second")
        assert len(names(tmp_path)) == 3
    assert path.read_bytes() == b"first"
    other.terminate()
    other.communicate()


def test_who_is_taken_for_dead_before_the_lock_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer may come between a temporary file and its lock, and remove it."""
    path, lock, removed = tmp_path / "a.json", files._lock, []

    def late(handle: int) -> bool:
        if not removed:
            removed.extend(names(tmp_path))
            (tmp_path / removed[0]).unlink()
        return lock(handle)

    monkeypatch.setattr(files, "_lock", late)
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
