"""What Snakemake does not see: results of another version of saml, a corpus or checkpoint that has changed.

Neither reruns anything by itself, because hours of training should not start for a new version; the workflow
names them when it starts.
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from saml import __version__
from saml.models.checkpoints.source import checkpoint_path, checksums, is_given
from saml.runtime.errors import SamlError

RECORDS = ("run.jsonl", "adaptation.jsonl", "tables.jsonl")
# Folders with many files and no run record in them.
PASSED_OVER = ("audio", "logs", "benchmarks", "figures", ".work")


def warnings(config: Mapping[str, Any], results: Path) -> Iterator[str]:
    """One line for each thing that a person should know before going on with the experiment in `results`."""
    for version, records in sorted(other_versions(results).items()):
        yield (
            f"{results} has results of saml {version} ({len(records)}, the first in {records[0].parent}), "
            f"this is saml {__version__}: they stay as they are; --forceall makes everything again"
        )
    manifest = newer_manifest(config, results)
    if manifest is not None:
        yield (
            f"{manifest} has changed since {results / 'data' / 'corpus'} was made: results stay as they are; "
            "--forcerun prepare_corpus takes the change over"
        )
    checkpoint = other_checkpoint(config, results)
    if checkpoint is not None:
        yield (
            f"{checkpoint} holds another model than {results / 'models' / 'base'} was made of: results stay "
            "as they are; --forcerun import_base takes it over"
        )


def other_versions(results: Path) -> dict[str, list[Path]]:
    """The run records in `results` by the version of saml that wrote them, without those of this version."""
    found: dict[str, list[Path]] = defaultdict(list)
    for record in _records(results):
        version = _version(record)
        if version is not None and version != __version__:
            found[version].append(record)
    return dict(found)


def newer_manifest(config: Mapping[str, Any], results: Path) -> Path | None:
    """The manifest of a folder corpus, where it is another than what was made of it.

    It is read only if it is younger; a record without its checksum, of earlier versions, tells by age alone.
    """
    corpus = config["corpus"]
    if corpus["name"] != "folder":
        return None
    root = corpus["folder"]["root"] or os.environ.get("SAML_FOLDER_ROOT")
    if not root:
        return None
    manifest = Path(root) / corpus["folder"]["manifest"]
    try:
        record = results / "data" / "corpus" / "run.jsonl"
        if manifest.stat().st_mtime <= record.stat().st_mtime:
            return None
        known = _head(record).get("settings", {}).get("manifest", {}).get("sha256")
        return None if known == hashlib.sha256(manifest.read_bytes()).hexdigest() else manifest
    except OSError:  # nothing was made yet, or the corpus is not mounted now
        return None


def other_checkpoint(config: Mapping[str, Any], results: Path) -> Path | None:
    """The checkpoint of the base model, where its files are others than those that were taken over.

    They are read only if they are younger than what was made of them.
    """
    record = results / "models" / "base" / "run.jsonl"
    try:
        if not is_given(config["model"]):
            return None
        checkpoint = checkpoint_path(config["model"], fetch=False)
        made = record.stat().st_mtime
        folder = checkpoint.parent if checkpoint.is_file() else checkpoint
        if all(path.stat().st_mtime <= made for path in folder.iterdir()):
            return None
        known = _head(record).get("settings", {}).get("checkpoint", {}).get("sha256")
        return checkpoint if known and known != checksums(checkpoint) else None
    except (OSError, SamlError):  # nothing was made yet, or the checkpoint is not there now
        return None


def _records(results: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(results):
        below[:] = sorted(name for name in below if name not in PASSED_OVER)
        yield from (Path(folder) / name for name in RECORDS if name in files)


def _version(record: Path) -> str | None:
    """The version that wrote a record; None where it cannot be read (its reader will say so)."""
    version = _head(record).get("saml")
    return version if isinstance(version, str) else None


def _head(record: Path) -> dict[str, Any]:
    """A record's first line; empty where it cannot be read."""
    try:
        with record.open(encoding="utf-8") as stream:
            head = json.loads(stream.readline())
    except (OSError, ValueError, RecursionError):
        return {}
    return head if isinstance(head, dict) else {}
