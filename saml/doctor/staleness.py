"""Changes that Snakemake does not detect: another version of saml, a changed corpus or checkpoint.

They do not rerun anything, because a new version should not start hours of training; the workflow prints a
warning for each when it starts.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from saml import __version__
from saml.corpora.folder_layouts import digest, find_source, last_change
from saml.models.checkpoints.source import checkpoint_path, checksums, is_given
from saml.runtime.errors import SamlError
from saml.runtime.layout import BENCHMARKS, CORPUS, FIGURES, LOGS, MODEL, RECORDS, WORK, fill

_BASE = fill(MODEL, model="base")
# Folders with many files and no run record in them.
SKIPPED_FOLDERS = ("audio", LOGS, BENCHMARKS, FIGURES, WORK)


def warnings(config: Mapping[str, Any], results: Path) -> Iterator[str]:
    """A line for each change that affects the experiment in `results`."""
    for version, records in sorted(other_versions(results).items()):
        yield (
            f"{results} has results of saml {version} ({len(records)}, the first in {records[0].parent}), "
            f"this is saml {__version__}: they are kept; --forceall computes everything again"
        )
    manifest = newer_manifest(config, results)
    if manifest is not None:
        yield (
            f"{manifest} has changed since {results / CORPUS} was written: results are kept; "
            "--forcerun prepare_corpus applies the change"
        )
    checkpoint = other_checkpoint(config, results)
    if checkpoint is not None:
        yield (
            f"{checkpoint} contains another model than the source of {results / _BASE}: results "
            "are kept; --forcerun import_base imports it"
        )


def other_versions(results: Path) -> dict[str, list[Path]]:
    """The run records in `results` from other versions of saml, by version."""
    found: dict[str, list[Path]] = defaultdict(list)
    for record in _records(results):
        version = _version(record)
        if version is not None and version != __version__:
            found[version].append(record)
    return dict(found)


def newer_manifest(config: Mapping[str, Any], results: Path) -> Path | None:
    """The table of a folder corpus, or the folder of its text files, if changed since it was prepared.

    They are read only if they are newer than the run record. Records of early versions have no checksum; then
    modification times decide.
    """
    corpus = config["corpus"]
    if corpus["name"] != "folder":
        return None
    try:
        record = results / CORPUS / "run.jsonl"
        prepared = record.stat().st_mtime
        source = find_source(corpus["folder"])
        if last_change(source) <= prepared:
            return None
        known = _head(record).get("settings", {}).get("manifest", {}).get("sha256")
        return None if known == digest(source) else source.table or source.root
    except (OSError, SamlError):  # nothing is prepared yet, or the corpus is not mounted
        return None


def other_checkpoint(config: Mapping[str, Any], results: Path) -> Path | None:
    """The checkpoint of the base model, if its files have changed since it was imported.

    They are read only if they are newer than the run record.
    """
    record = results / _BASE / "run.jsonl"
    try:
        if not is_given(config["model"]):
            return None
        checkpoint = checkpoint_path(config["model"], fetch=False)
        imported = record.stat().st_mtime
        folder = checkpoint.parent if checkpoint.is_file() else checkpoint
        if all(path.stat().st_mtime <= imported for path in folder.iterdir()):
            return None
        known = _head(record).get("settings", {}).get("checkpoint", {}).get("sha256")
        return checkpoint if known and known != checksums(checkpoint) else None
    except (OSError, SamlError):  # nothing is imported yet, or the checkpoint is missing
        return None


def _records(results: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(results):
        below[:] = sorted(name for name in below if name not in SKIPPED_FOLDERS)
        yield from (Path(folder) / name for name in RECORDS if name in files)


def _version(record: Path) -> str | None:
    """The version that wrote a record; None if it cannot be read (its reader reports that)."""
    version = _head(record).get("saml")
    return version if isinstance(version, str) else None


def _head(record: Path) -> dict[str, Any]:
    """A record's first line; empty if it cannot be read."""
    try:
        with record.open(encoding="utf-8") as stream:
            head = json.loads(stream.readline())
    except (OSError, ValueError, RecursionError):
        return {}
    return head if isinstance(head, dict) else {}
