"""The layouts of a folder: which one is there, what it lists, and whether it has changed."""

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from saml.corpora.folder import list_rows, origin
from saml.corpora.folder_layouts import digest, find_source, last_change
from saml.corpora.folder_listing import read_listing
from saml.runtime.errors import SamlError

MANIFEST = "utterance\tspeaker\tfile\ttext\n"


def made(root: Path, files: dict[str, str]) -> dict[str, Any]:
    """The settings of a folder with these files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return {"root": str(root), "manifest": None}


def listed(settings: dict[str, Any], on_bad: str = "error") -> list[tuple[str, str, str, str]]:
    rows, _ = list_rows(settings, on_bad)
    root = Path(settings["root"])
    return [(row.utterance, row.speaker, str(row.path.relative_to(root)), row.text) for row in rows]


RECORDINGS = {"anna/01.wav": "", "anna/02.flac": "", "ben/01.mp3": ""}


def test_text_files_beside_recordings(tmp_path: Path) -> None:
    texts = {"anna/01.txt": "one\ntwo \n", "anna/02.TXT": "three", "ben/01.txt": "\ufefffour"}
    assert listed(made(tmp_path, RECORDINGS | texts)) == [
        ("anna/01", "anna", "anna/01.wav", "one two"),
        ("anna/02", "anna", "anna/02.flac", "three"),
        ("ben/01", "ben", "ben/01.mp3", "four"),
    ]


def test_a_flat_folder_has_one_speaker(tmp_path: Path) -> None:
    settings = made(tmp_path / "my voice", {"b.wav": "", "b.txt": "two", "a.wav": "", "a.txt": "one"})
    assert listed(settings) == [("a", "my voice", "a.wav", "one"), ("b", "my voice", "b.wav", "two")]


def test_text_and_recording_have_one_name_in_any_form(tmp_path: Path) -> None:
    decomposed, composed = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    settings = made(tmp_path, {f"x/{decomposed}.wav": "", f"x/{composed}.txt": "coffee"})
    assert listed(settings) == [(f"x/{composed}", "x", f"x/{decomposed}.wav", "coffee")]


def test_what_stands_alone_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = RECORDINGS | {
        "anna/01.txt": "one",
        "anna/2.txt": "two",
        "README.txt": "about",
        "ben/._01.txt": "",
    }
    settings = made(tmp_path, files)
    with pytest.raises(SamlError) as error:
        list_rows(settings, "error")
    assert "anna/02.flac, ben/01.mp3 without a .txt file" in str(error.value)
    assert "README.txt, anna/2.txt without a recording" in str(error.value)
    rows, dropped = list_rows(settings, "drop")
    assert [row.utterance for row in rows] == ["anna/01"]
    assert [(row.utterance, row.speaker) for row in dropped] == [("anna/02", "anna"), ("ben/01", "ben")]
    assert "README.txt" in capsys.readouterr().err


def test_two_recordings_of_one_text(tmp_path: Path) -> None:
    with pytest.raises(SamlError, match=r"a.wav and \S+a.flac have the same name"):
        list_rows(made(tmp_path, {"a.wav": "", "a.flac": "", "a.txt": "one"}), "error")


TABLES = {
    "metadata.csv": 'file_name,transcription,speaker_id\nanna/01.wav,"Well, ""now"".",19\n'
    "anna/02.flac,b,19\n",
    "metadata.jsonl": "\n".join(
        json.dumps({"file_name": name, "sentence": text, "client_id": 19, "objects": [1]})
        for name, text in (("anna/01.wav", 'Well, "now".'), ("anna/02.flac", "b"))
    ),
    "manifest.tsv": MANIFEST + 'anna/01\t19\tanna/01.wav\t"Well, ""now""."\nanna/02\t19\tanna/02.flac\tb\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, name: str) -> None:
    assert listed(made(tmp_path, RECORDINGS | {name: TABLES[name]})) == [
        ("anna/01", "19", "anna/01.wav", 'Well, "now".'),
        ("anna/02", "19", "anna/02.flac", "b"),
    ]


def test_metadata_without_speakers_takes_the_folders(tmp_path: Path) -> None:
    table = "file_name,text,role\nanna/01.wav,one,base\n../mine/ben/01.mp3,two,\n"
    with pytest.raises(SamlError, match="line 3: the file ../mine/ben/01.mp3 is outside"):
        listed(made(tmp_path / "mine", RECORDINGS | {"metadata.csv": table}))
    settings = made(tmp_path / "mine", {"metadata.csv": table.replace("../mine/", "./")})
    rows, _ = list_rows(settings, "error")
    assert [(row.speaker, row.role) for row in rows] == [("anna", "base"), ("ben", "")]


def test_a_chosen_table_may_lie_below(tmp_path: Path) -> None:
    settings = made(tmp_path, RECORDINGS | {"anna/metadata.csv": "file_name,text\n01.wav,one\n"})
    settings["manifest"] = "anna/metadata.csv"
    assert listed(settings) == [("anna/01", "anna", "anna/01.wav", "one")]


def test_two_layouts_must_be_chosen_from(tmp_path: Path) -> None:
    texts = {"anna/01.txt": "x", "anna/02.txt": "x", "ben/01.txt": "x"}
    settings = made(tmp_path, RECORDINGS | texts | {"manifest.tsv": TABLES["manifest.tsv"]})
    with pytest.raises(SamlError, match=r"manifest.tsv and by \*.txt .*; remove one, or .*'manifest.tsv'"):
        find_source(settings)
    assert len(listed(settings | {"manifest": "manifest.tsv"})) == 2
    assert len(listed(settings | {"manifest": "*.txt"})) == 3
    (tmp_path / "metadata.jsonl").touch()
    with pytest.raises(SamlError, match=r"by manifest.tsv and by metadata.jsonl"):
        find_source(settings)


def test_texts_of_other_purpose_are_no_layout(tmp_path: Path) -> None:
    settings = made(tmp_path, RECORDINGS | {"README.txt": "", "manifest.tsv": TABLES["manifest.tsv"]})
    assert find_source(settings).table == tmp_path / "manifest.tsv"


BAD: dict[str, tuple[dict[str, str], str]] = {
    "no layout": (
        {"a.wav": ""},
        "contains no manifest.tsv, no metadata.csv, no metadata.jsonl, and no recording",
    ),
    "no text column": ({"metadata.csv": "file_name,words\na.wav,one\n"}, "it has file_name, words"),
    "semicolons": (
        {"metadata.csv": "file_name;text\na.wav;one\n"},
        "separated by semicolons; save .* commas",
    ),
    "commas": ({"manifest.tsv": "utterance,speaker,file,text\n"}, "separated by commas; save .* tabs"),
    "two texts": (
        {"metadata.csv": "file_name,text,sentence\na.wav,one,One.\n"},
        "both text and sentence are columns",
    ),
    "a number for a text": (
        {"metadata.jsonl": '{"file_name": "a.wav", "text": [1]}'},
        "file_name, and the text",
    ),
    "one text missing": (
        {"metadata.jsonl": '{"file_name": "a.wav", "text": "x"}\n{"file_name": "b.wav"}'},
        "line 2: text is missing",
    ),
    "no file": ({"metadata.csv": "file_name,text\n,one\n"}, "line 2: the file_name is empty"),
    "twice": ({"metadata.csv": "file_name,text\na.wav,x\na.flac,y\n"}, "utterance a is listed twice"),
    "nothing": ({"metadata.csv": "file_name,text\n"}, "there are no utterances"),
    "columns twice": (
        {"manifest.tsv": "utterance\tspeaker\tfile\ttext\ttext\n"},
        "names the column text twice",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders(tmp_path: Path, case: str) -> None:
    files, message = BAD[case]
    with pytest.raises(SamlError, match=message) as error:
        list_rows(made(tmp_path, files), "error")
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_absolute_paths_inside_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, link = tmp_path / "mine", tmp_path / "link"
    line = f"u1\tanna\t{root}/anna/01.wav\tone\n"
    settings = made(root, RECORDINGS | {"manifest.tsv": MANIFEST + line})
    assert listed(settings) == [("u1", "anna", "anna/01.wav", "one")]
    link.symlink_to(root)
    assert listed(settings | {"root": str(link)}) == [("u1", "anna", "anna/01.wav", "one")]
    monkeypatch.chdir(tmp_path)
    rows, _ = list_rows(settings | {"root": "mine"}, "error")
    assert str(rows[0].path) == "mine/anna/01.wav"
    with pytest.raises(SamlError, match=rf"outside the corpus folder: only files in {root}/anna are read"):
        (root / "anna/manifest.tsv").write_text(MANIFEST + f"u1\tanna\t{root}/ben/01.mp3\tone\n")
        listed(settings | {"root": str(root / "anna")})


def test_roots_with_home_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = made(tmp_path / "mine", RECORDINGS | {"manifest.tsv": TABLES["manifest.tsv"]})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ELSEWHERE", str(tmp_path))
    for named in ("~/mine", "$ELSEWHERE/mine"):
        assert find_source(settings | {"root": named}).root == tmp_path / "mine"
    monkeypatch.setenv("SAML_FOLDER_ROOT", "$NOT_SET_ANYWHERE/mine")
    with pytest.raises(
        SamlError, match="^SAML_FOLDER_ROOT: .* names the environment variable NOT_SET_ANYWHERE, which"
    ):
        find_source(settings | {"root": None})


def test_ids_and_texts_are_plain(tmp_path: Path) -> None:
    line = "u\u00a01\t Zoe\u0308 \tanna/01.wav\tdon\u2019t  \u200bgo\n"
    settings = made(tmp_path, RECORDINGS | {"manifest.tsv": MANIFEST + line})
    assert listed(settings) == [("u 1", "Zo\u00eb", "anna/01.wav", "don't go")]


@pytest.mark.parametrize("name", [*TABLES, "*.txt"])
def test_changes_are_noticed(tmp_path: Path, name: str) -> None:
    """A table by its bytes; text files by their names and contents, and the names of the recordings."""
    texts = {"anna/01.txt": "one", "anna/02.txt": "two", "ben/01.txt": "three"}
    settings = made(tmp_path, RECORDINGS | (texts if name == "*.txt" else {name: TABLES[name]}))
    source = find_source(settings)
    before = digest(source)
    assert before == digest(source) == origin({"folder": settings})["manifest"]["sha256"]
    path = tmp_path / ("anna/02.txt" if name == "*.txt" else name)
    assert last_change(source) >= path.stat().st_mtime
    if name != "*.txt":
        assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / ".DS_Store").touch()
    assert digest(source) == before
    path.write_text(path.read_text().replace("two", "ten") + " ")
    after = digest(source)
    assert after != before
    if name == "*.txt":
        (tmp_path / "anna/03.wav").touch()
        assert digest(source) not in (before, after)
        assert len(read_listing(source).without_text) == 1
