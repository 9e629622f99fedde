"""lhotse manifests as files: checked, and with the same bytes whenever they are written."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSet, validate
from lhotse.cut import Cut
from lhotse.qa import validate_recordings_and_supervisions

from saml.features.archive import ArchiveReader
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically

# What lhotse, gzip and zlib make of a file that is no manifest, or a damaged one.
_DAMAGES = (
    OSError,
    EOFError,
    ValueError,
    AssertionError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    zlib.error,
)


def write_manifest(manifest: RecordingSet | SupervisionSet | CutSet, path: Path) -> None:
    """Validate a manifest and write it as gzipped JSON lines, atomically.

    lhotse's own writer puts the time into the gzip header. Raises AssertionError (lhotse's) where the
    manifest contradicts itself, which is a defect of the program: bad input has been sorted out before.
    """
    validate(manifest)
    text = "".join(json.dumps(item.to_dict(), ensure_ascii=False) + "\n" for item in manifest)
    write_atomically(path, gzip.compress(text.encode(), compresslevel=6, mtime=0))


def read_manifest(kind: Any, path: Path) -> Any:
    """A manifest of this kind (RecordingSet, SupervisionSet, CutSet), in memory.

    Raises SamlError where the file is missing, empty or no manifest.
    """
    try:
        manifest = kind.from_file(path)
        items = list(manifest)
        for item in items:
            _refuse_foreign(item)
    except _DAMAGES as error:
        raise SamlError(
            f"{path}: cannot read this manifest ({error}); run the stage that makes it again"
        ) from None
    return kind.from_items(items)


def _refuse_foreign(item: Any) -> None:
    """Raise ValueError for speech or features that are not in files as saml's own stages write them.

    lhotse knows others: shell commands whose output is audio, addresses, archives read by further libraries.
    """
    if isinstance(item, Cut) and not isinstance(item, MonoCut):
        raise ValueError(f"{item.id!r} is no cut of one channel")
    recording = item if isinstance(item, Recording) else getattr(item, "recording", None)
    for source in recording.sources if recording is not None else ():
        if source.type != "file":
            raise ValueError(f"the audio of {item.id!r} is a {source.type}, not a file")
    features = getattr(item, "features", None)
    if features is not None and features.storage_type != ArchiveReader.name:
        raise ValueError(f"the features of {item.id!r} are stored as {features.storage_type}")


def validate_pair(recordings: RecordingSet, supervisions: SupervisionSet) -> None:
    """Check that the two belong together. Raises AssertionError (lhotse's) where they do not."""
    validate_recordings_and_supervisions(recordings, supervisions)
