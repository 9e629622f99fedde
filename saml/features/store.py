"""Features on disk: many matrices in one file, exactly as they were computed.

lhotse's own one-file archive compresses with lilcom, which is lossy: stored features would no longer be
those that the tests compare with transformers', and lilcom is a further dependency. Here a matrix is stored
as its bytes, one matrix after the other. Its offset, shape and checksum are in the cut's `storage_key`.
Importing this module registers the reader with lhotse.
"""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from lhotse import MonoCut
from lhotse.features import Features
from lhotse.features.io import FeaturesReader, FeaturesWriter, register_reader, register_writer
from torch import Tensor

from saml.audio import SAMPLING_RATE
from saml.features.log_mel import LogMel
from saml.runtime.errors import SamlError
from saml.runtime.files import open_atomically

_NAME = "saml_archive"
# Little-endian whatever the machine, so that archives can be copied.
_TYPE = np.dtype("<f4")


@register_writer
class ArchiveWriter(FeaturesWriter):
    """Appends matrices `(frames, bins)` as float32 to a new file, which exists only after it is closed."""

    name = _NAME

    def __init__(self, storage_path: Path | str) -> None:
        self._path = Path(storage_path)
        self._whole = open_atomically(self._path)
        self._file = self._whole.__enter__()

    @property
    def storage_path(self) -> str:
        """The path as given: a relative path stays relative."""
        return str(self._path)

    def write(self, key: str, value: np.ndarray) -> str:
        """Append a matrix; returns its storage key "byte offset,frames,bins,CRC-32". `key` is not used."""
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
    """Reads the files of ArchiveWriter."""

    name = _NAME

    def __init__(self, storage_path: Path | str) -> None:
        self._path = Path(storage_path)

    def read(
        self, key: str, left_offset_frames: int = 0, right_offset_frames: int | None = None
    ) -> np.ndarray:
        """The frames from `left_offset_frames` to before `right_offset_frames` (None: the end).

        Raises SamlError when the file is missing, shorter than its manifest says, or does not match its
        checksum (old archives have none).
        """
        place = self._place(key)
        data = self._bytes(place.offset, place.frames * place.bins * _TYPE.itemsize)
        if place.checksum is not None and zlib.crc32(data) != place.checksum:
            raise SamlError(
                f"{self._path}: a checksum differs from that of its cuts: features are damaged or replaced; "
                "delete the file and run its stage again"
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
                f"{self._path}: {key[:60]!r} is not a storage key; run the stage of its cuts again"
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
            raise SamlError(f"{self._path}: no such features; run the stage that writes them again") from None
        if not whole:
            raise SamlError(f"{self._path}: features are truncated; delete the file and run its stage again")
        return data


class _Place(NamedTuple):
    """The position of a matrix in an archive: first byte, shape, and CRC-32 (None in old archives)."""

    offset: int
    frames: int
    bins: int
    checksum: int | None = None


def store_features(cut: MonoCut, samples: np.ndarray, extractor: LogMel, archive: ArchiveWriter) -> MonoCut:
    """Compute the features of a cut and append them to `archive`; returns the cut with a reference to them.

    `samples` is the audio of the cut, `(samples,)` at 16 kHz (see `saml.corpora.audio.read_cut`). The
    features can be some frames longer than the cut (see `LogMel`); `cut.num_frames` counts its own.
    """
    features = extractor.extract(samples, SAMPLING_RATE)
    cut.features = Features(
        type=extractor.name,
        num_frames=features.shape[0],
        num_features=features.shape[1],
        frame_shift=extractor.frame_shift,
        sampling_rate=SAMPLING_RATE,
        start=cut.start,
        duration=round(features.shape[0] * extractor.frame_shift, ndigits=8),
        storage_type=archive.name,
        storage_path=archive.storage_path,
        storage_key=archive.write(cut.id, features),
        recording_id=cut.recording_id,
        channels=cut.channel,
    )
    padded = extractor.padded_frames(cut.num_frames)
    if padded is not None:
        cut.custom = {**(cut.custom or {}), "padded_frames": padded}
    return cut


def load_features(cuts: Iterable[MonoCut]) -> dict[str, Tensor]:
    """The features of every cut by its id, `(frames, bins)` float32, read from disk now."""
    # cut.load_features() would leave out the silence that Whisper has after the end.
    return {cut.id: torch.from_numpy(cut.features.load()) for cut in cuts}
