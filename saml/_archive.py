"""Many feature matrices in one file, exactly as they were computed.

lhotse's own one-file archive compresses with lilcom, which is lossy, so that stored features would no
longer be those the tests compare with transformers', and is a further dependency. Here a matrix is its
bytes, one after the other, and its place and shape stand in the cut's `storage_key`. Importing this module
tells lhotse how to read it.
"""

from pathlib import Path
from types import TracebackType

import numpy as np
from lhotse.features.io import FeaturesReader, FeaturesWriter, register_reader, register_writer

from saml.errors import SamlError

_NAME = "saml_archive"
# Little-endian whatever the machine, so that archives can be copied.
_TYPE = np.dtype("<f4")


@register_writer
class ArchiveWriter(FeaturesWriter):
    """Appends matrices `(frames, bins)` as float32 to a new file."""

    name = _NAME

    def __init__(self, storage_path: Path | str) -> None:
        self._path = Path(storage_path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")

    @property
    def storage_path(self) -> str:
        """The file, as it was given: a relative path stays relative."""
        return str(self._path)

    def write(self, key: str, value: np.ndarray) -> str:
        """Append a matrix; returns its storage key "byte offset,frames,bins". `key` plays no part."""
        offset = self._file.tell()
        self._file.write(np.ascontiguousarray(value, dtype=_TYPE).tobytes())
        return f"{offset},{value.shape[0]},{value.shape[1]}"

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@register_reader
class ArchiveReader(FeaturesReader):
    """Reads what ArchiveWriter wrote."""

    name = _NAME

    def __init__(self, storage_path: Path | str) -> None:
        self._path = Path(storage_path)

    def read(
        self, key: str, left_offset_frames: int = 0, right_offset_frames: int | None = None
    ) -> np.ndarray:
        """The frames from `left_offset_frames` to before `right_offset_frames` (None: the end).

        Raises SamlError where the file is missing or shorter than its manifest says.
        """
        offset, frames, bins = map(int, key.split(","))
        left, right, _ = slice(left_offset_frames, right_offset_frames).indices(frames)
        count = max(0, right - left) * bins
        start = offset + left * bins * _TYPE.itemsize
        try:
            values = np.fromfile(self._path, dtype=_TYPE, count=count, offset=start)
        except FileNotFoundError:
            raise SamlError(f"{self._path}: no such features; run the stage that makes them again") from None
        if len(values) != count:
            raise SamlError(f"{self._path}: features are cut short; delete the file and run its stage again")
        return values.reshape(-1, bins).astype(np.float32, copy=False)
