"""Many feature matrices in one file, exactly as they were computed.

lhotse's own one-file archive compresses with lilcom, which is lossy, so that stored features would no
longer be those the tests compare with transformers', and is a further dependency. Here a matrix is its
bytes, one after the other, and its place, shape and checksum stand in the cut's `storage_key`. Importing this
module tells lhotse how to read it.
"""

import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from lhotse.features.io import FeaturesReader, FeaturesWriter, register_reader, register_writer

from saml.runtime.errors import SamlError
from saml.runtime.files import open_atomically

_NAME = "saml_archive"
# Little-endian whatever the machine, so that archives can be copied.
_TYPE = np.dtype("<f4")


@register_writer
class ArchiveWriter(FeaturesWriter):
    """Appends matrices `(frames, bins)` as float32 to a new file, which is there once it is closed."""

    name = _NAME

    def __init__(self, storage_path: Path | str) -> None:
        self._path = Path(storage_path)
        self._whole = open_atomically(self._path)
        self._file = self._whole.__enter__()

    @property
    def storage_path(self) -> str:
        """The file, as it was given: a relative path stays relative."""
        return str(self._path)

    def write(self, key: str, value: np.ndarray) -> str:
        """Append a matrix; returns its storage key "byte offset,frames,bins,CRC-32". `key` plays no part."""
        offset = self._file.tell()
        data = np.ascontiguousarray(value, dtype=_TYPE).tobytes()
        self._file.write(data)
        return f"{offset},{value.shape[0]},{value.shape[1]},{zlib.crc32(data):08x}"

    def close(self) -> None:
        """Finish the file."""
        self._whole.__exit__(None, None, None)

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._whole.__exit__(kind, error, trace)


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

        Raises SamlError where the file is missing, shorter than its manifest says, or has other bytes than
        were written (archives of before there were checksums are taken as they are).
        """
        place = self._place(key)
        data = self._bytes(place.offset, place.frames * place.bins * _TYPE.itemsize)
        if place.checksum is not None and zlib.crc32(data) != place.checksum:
            raise SamlError(
                f"{self._path}: a checksum differs from the one in its cuts: features are damaged or "
                "replaced; delete the file and run its stage again"
            )
        values = np.frombuffer(data, dtype=_TYPE).reshape(place.frames, place.bins)
        return values[left_offset_frames:right_offset_frames].astype(np.float32, copy=False)

    def _place(self, key: str) -> "_Place":
        try:
            offset, frames, bins, *checksum = key.split(",")
            place = _Place(int(offset), int(frames), int(bins), *(int(value, 16) for value in checksum))
        except (TypeError, ValueError):
            place = _Place(-1, 0, 0)
        if min(place.offset, place.frames, place.bins) < 0:
            raise SamlError(
                f"{self._path}: {key[:60]!r} is no place in a features file; run the stage of its cuts again"
            )
        return place

    def _bytes(self, offset: int, size: int) -> bytearray:
        try:
            with self._path.open("rb") as file:
                whole = offset + size <= os.fstat(file.fileno()).st_size
                data = bytearray(size if whole else 0)
                file.seek(offset)
                whole = whole and file.readinto(data) == size
        except FileNotFoundError:
            raise SamlError(f"{self._path}: no such features; run the stage that makes them again") from None
        if not whole:
            raise SamlError(f"{self._path}: features are cut short; delete the file and run its stage again")
        return data


class _Place(NamedTuple):
    """Where a matrix lies in an archive: its first byte, its shape, and, unless it is old, its CRC-32."""

    offset: int
    frames: int
    bins: int
    checksum: int | None = None
