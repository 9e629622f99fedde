"""Warnings about results that Snakemake takes for good."""

import json
import os
from pathlib import Path

import pytest

from saml import __version__
from saml.corpora.folder import origin
from saml.doctor.staleness import newer_manifest, other_checkpoint, other_versions, warnings
from saml.models.checkpoints.source import checksums
from saml.tracking import RunRecord

TRAINED = {"family": "whisper", "whisper": {"checkpoint": None}}
MADE = {"corpus": {"name": "spoken_commands"}, "model": TRAINED}


def test_results_of_other_versions_are_found_by_their_records(tmp_path: Path) -> None:
    ours = tmp_path / "models" / "base" / "run.jsonl"
    theirs = tmp_path / "speakers" / "x" / "saml" / "seed1" / "adaptation.jsonl"
    RunRecord(stage="train-base", experiment="e").write(ours)
    RunRecord(stage="adapt", experiment="e").write(theirs)
    assert other_versions(tmp_path) == {}
    theirs.write_text(theirs.read_text().replace(f'"saml": "{__version__}"', '"saml": "0.0.1"'))
    assert other_versions(tmp_path) == {"0.0.1": [theirs]}
    (line,) = warnings(MADE, tmp_path)
    assert "saml 0.0.1 (1, the first in" in line and __version__ in line and "\n" not in line


@pytest.mark.parametrize("content", ["", "{", "[]", '{"saml": 3}', "\xff"])
def test_a_damaged_record_is_left_to_its_reader(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.jsonl").write_bytes(content.encode("latin-1"))
    assert list(warnings(MADE, tmp_path)) == []


def test_no_results_no_warnings(tmp_path: Path) -> None:
    assert list(warnings(MADE, tmp_path / "absent")) == []


def test_a_manifest_that_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "results" / "data" / "corpus" / "run.jsonl"
    manifest = tmp_path / "speech" / "manifest.tsv"
    for path in (record, manifest):
        path.parent.mkdir(parents=True)
        path.touch()
    folder = {"root": None, "manifest": "manifest.tsv"}
    config = {"corpus": {"name": "folder", "folder": folder}, "model": TRAINED}
    results = tmp_path / "results"
    monkeypatch.delenv("SAML_FOLDER_ROOT", raising=False)
    assert newer_manifest(config, results) is None
    monkeypatch.setenv("SAML_FOLDER_ROOT", str(manifest.parent))
    os.utime(record, (100, 100))
    os.utime(manifest, (99, 99))
    assert newer_manifest(config, results) is None
    os.utime(manifest, (101, 101))
    assert newer_manifest(config, results) == manifest
    assert "--forcerun prepare_corpus" in next(iter(warnings(config, results)))
    # Copied anew, with the same bytes; then with others.
    checksum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # printf '' | sha256sum
    record.write_text(json.dumps({"settings": {"manifest": {"sha256": checksum}}}) + "\n")
    os.utime(record, (100, 100))
    assert newer_manifest(config, results) is None
    manifest.write_text("utterance")
    os.utime(manifest, (101, 101))
    assert newer_manifest(config, results) == manifest
    manifest.unlink()
    assert newer_manifest(config, results) is None


def test_a_checkpoint_with_other_files_is_named(tmp_path: Path) -> None:
    """One that is only younger, a copy say, is not."""
    folder, results = tmp_path / "checkpoint", tmp_path / "results"
    folder.mkdir()
    for name in ("config.json", "vocab.json", "model.safetensors"):
        (folder / name).write_text(name)
    config = {
        **MADE,
        "model": {"family": "whisper", "whisper": {"checkpoint": str(folder), "characters": "ab"}},
    }
    assert other_checkpoint(config, results) is None
    record = results / "models" / "base" / "run.jsonl"
    origin = {"name": "checkpoint", "sha256": checksums(folder)}
    RunRecord(stage="import-base", experiment="e", settings={"checkpoint": origin}).write(record)
    os.utime(record, (100, 100))
    assert list(warnings(config, results)) == []
    (folder / "model.safetensors").write_text("other weights")
    assert other_checkpoint(config, results) == folder
    assert "--forcerun import_base" in next(iter(warnings(config, results)))
    assert other_checkpoint(MADE, results) is None
    (folder / "vocab.json").unlink()
    assert other_checkpoint(config, results) is None


def test_text_files_that_changed_are_noticed(tmp_path: Path) -> None:
    """Of the layout with a text file beside each recording: contents, and files that are added."""
    record, root = tmp_path / "results" / "data" / "corpus" / "run.jsonl", tmp_path / "speech"
    root.mkdir()
    for name in ("a.wav", "a.txt"):
        (root / name).touch()
    folder = {"root": str(root), "manifest": None}
    config = {"corpus": {"name": "folder", "folder": folder}, "model": TRAINED}
    RunRecord(stage="prepare-corpus", experiment="e", settings=origin({"folder": folder})).write(record)
    for path in (root / "a.txt", root):
        os.utime(path, (99, 99))
    os.utime(record, (100, 100))
    assert newer_manifest(config, tmp_path / "results") is None
    (root / "a.txt").touch()
    assert newer_manifest(config, tmp_path / "results") is None
    (root / "a.txt").write_text("other")
    assert newer_manifest(config, tmp_path / "results") == root
    (root / "a.txt").write_text("")
    (root / "b.wav").touch()
    assert newer_manifest(config, tmp_path / "results") == root
    (root / "metadata.csv").touch()  # two layouts: the first job says so
    assert newer_manifest(config, tmp_path / "results") is None
