"""lhotse manifests as files: checked, and with the same bytes whenever they are written."""

import gzip
import json
from pathlib import Path
from typing import Any

from lhotse import CutSet, RecordingSet, SupervisionSet, validate
from lhotse.qa import validate_recordings_and_supervisions

from saml.errors import SamlError
from saml.files import write_atomically


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
    except (OSError, EOFError, ValueError, AssertionError, KeyError, TypeError) as error:
        raise SamlError(
            f"{path}: cannot read this manifest ({error}); run the stage that makes it again"
        ) from None
    return kind.from_items(items)


def validate_pair(recordings: RecordingSet, supervisions: SupervisionSet) -> None:
    """Check that the two belong together. Raises AssertionError (lhotse's) where they do not."""
    validate_recordings_and_supervisions(recordings, supervisions)
