"""What belongs to a folder, and names that look alike."""

import unicodedata
from pathlib import Path

import pytest

from saml.corpora.listing import stored, visible, visible_files
from saml.runtime.errors import SamlError

FOREIGN = ["._a.wav", ".DS_Store", ".ipynb_checkpoints", "@eaDir", "__MACOSX", "Thumbs.db", "desktop.ini"]


def test_foreign_entries_are_left_out(tmp_path: Path) -> None:
    for name in [*FOREIGN, "b", "a"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").touch()
        (tmp_path / name / "._x.wav").touch()
    assert [path.name for path in visible(tmp_path.iterdir())] == ["a", "b"]
    found = [path.relative_to(tmp_path).as_posix() for path in visible_files(tmp_path)]
    assert found == ["a/x.wav", "b/x.wav"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.wav").touch()
    root = tmp_path / "mine"
    (root / "a").mkdir(parents=True)
    (root / "a/above").symlink_to(root)
    (root / "b").symlink_to(tmp_path / "elsewhere")
    assert [path.relative_to(root).as_posix() for path in visible_files(root)] == ["b/x.wav"]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_name_is_found_in_either_form(tmp_path: Path, on_disk: str, asked: str) -> None:
    path = tmp_path / unicodedata.normalize(on_disk, "Zoë") / unicodedata.normalize(on_disk, "café.wav")
    path.parent.mkdir()
    path.touch()
    found = stored(tmp_path, unicodedata.normalize(asked, "Zoë/café.wav"))
    assert found == path and found.is_file()


def test_other_names_that_look_alike(tmp_path: Path) -> None:
    (tmp_path / "don\u2019t.wav").touch()
    assert stored(tmp_path, "don't.wav").is_file()
    assert stored(tmp_path, "dont.wav") == tmp_path / "dont.wav"
    (tmp_path / "don\u02bct.wav").touch()
    with pytest.raises(SamlError, match="look the same"):
        stored(tmp_path, "don't.wav")
    (tmp_path / "don't.wav").touch()
    assert stored(tmp_path, "don't.wav").name == "don't.wav"
