"""lhotse manifests on disk: validated, and byte-identical for identical contents."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSet, validate
from lhotse.cut import Cut
from lhotse.qa import validate_recordings_and_supervisions

from saml.features.store import ArchiveReader
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically

# What lhotse, gzip and zlib raise for a file that is damaged or not a manifest.
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

    lhotse's own writer stores the time in the gzip header. Raises lhotse's AssertionError for an inconsistent
    manifest, which is a defect of the program, because bad input has been rejected before.
    """
    validate(manifest)
    text = "".join(json.dumps(item.to_dict(), ensure_ascii=False) + "\n" for item in manifest)
    write_atomically(path, gzip.compress(text.encode(), compresslevel=6, mtime=0))


def read_manifest(kind: Any, path: Path) -> Any:
    """A manifest of this kind (RecordingSet, SupervisionSet, CutSet), in memory.

    Raises SamlError when the file is missing, empty or not such a manifest.
    """
    if not path.exists():
        raise SamlError(f"{path}: no such file; run the stage that writes it")
    try:
        manifest = kind.from_file(path)
        items = list(manifest)
        for item in items:
            _refuse_foreign(item)
    except _DAMAGES as error:
        raise SamlError(
            f"{path}: cannot read this manifest ({error}); run the stage that writes it again"
        ) from None
    return kind.from_items(items)


def read_cuts(path: Path) -> list[MonoCut]:
    """The cuts of a manifest, in its order. Raises SamlError when the file is missing or damaged."""
    return list(read_manifest(CutSet, path))


def file_of(cut: MonoCut) -> str:
    """The user's own file of an utterance: what a corpus noted as `file`, else the recording."""
    noted = (cut.supervisions[0].custom or {}).get("file")
    return str(noted or cut.recording.sources[0].source)


def _refuse_foreign(item: Any) -> None:
    """Raise ValueError for audio or features that saml's own stages would not write.

    lhotse supports more sources: shell commands, URLs, archives that need further libraries.
    """
    if isinstance(item, Cut) and not isinstance(item, MonoCut):
        raise ValueError(f"{item.id!r} is not a cut of one channel")
    recording = item if isinstance(item, Recording) else getattr(item, "recording", None)
    for source in recording.sources if recording is not None else ():
        if source.type != "file":
            raise ValueError(f"the audio of {item.id!r} is a {source.type}, not a file")
    features = getattr(item, "features", None)
    if features is not None and features.storage_type != ArchiveReader.name:
        raise ValueError(f"the features of {item.id!r} are stored as {features.storage_type}")


def validate_pair(recordings: RecordingSet, supervisions: SupervisionSet) -> None:
    """Check that both refer to each other. Raises lhotse's AssertionError when they do not."""
    validate_recordings_and_supervisions(recordings, supervisions)
