"""Stored features: every byte comes back, and damage is named."""

import zlib

import numpy as np
import pytest

from saml.features.store import ArchiveReader, ArchiveWriter
from saml.runtime.errors import SamlError


def test_stored_matrices_are_read_unchanged(tmp_path):
    matrices = [
        np.random.default_rng(seed).standard_normal((seed + 3, 5)).astype(np.float32) for seed in range(4)
    ]
    path = tmp_path / "folder" / "a.bin"
    with ArchiveWriter(path) as archive:
        keys = [archive.write("", matrix) for matrix in matrices]
    assert path.stat().st_size == sum(matrix.nbytes for matrix in matrices)
    reader = ArchiveReader(path)
    for key, matrix in zip(keys, matrices, strict=True):
        assert np.array_equal(reader.read(key), matrix)
        assert np.array_equal(reader.read(key, 1, 3), matrix[1:3])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SamlError, match="truncated"):
        reader.read(keys[-1])
    path.unlink()
    with pytest.raises(SamlError, match="no such features"):
        reader.read(keys[0])


def test_a_changed_byte_in_stored_features_is_named(tmp_path):
    """For any position and any range of frames; an old archive without checksums is accepted."""
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = tmp_path / "a.bin"
    with ArchiveWriter(path) as archive:
        archive.write("", matrix)
        key = archive.write("", matrix)
    assert key == f"48,4,3,{zlib.crc32(matrix.tobytes()):08x}"
    data = path.read_bytes()
    for place in (48, 70, 95):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        for frames in ((0, None), (1, 2)):
            with pytest.raises(SamlError, match=rf"{path}: a checksum differs"):
                ArchiveReader(path).read(key, *frames)
        old = ArchiveReader(path).read("48,4,3")
        assert (old != matrix).sum() == 1
    path.write_bytes(data)
    assert np.array_equal(ArchiveReader(path).read("48,4,3"), matrix)


@pytest.mark.parametrize("key", ["", "0,4", "0,4,3,xyz", "0,4,3,0,0", "-1,4,3", "0,-4,3", "a,b,c"])
def test_an_invalid_storage_key_is_an_error(tmp_path, key):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(48))
    with pytest.raises(SamlError, match="is not a storage key"):
        ArchiveReader(path).read(key)
    with pytest.raises(SamlError, match="truncated"):  # before memory is allocated
        ArchiveReader(path).read(f"0,{1 << 60},80")


def test_an_unfinished_archive_does_not_exist(tmp_path):
    with pytest.raises(KeyboardInterrupt), ArchiveWriter(tmp_path / "a.bin") as archive:
        archive.write("", np.zeros((1, 1)))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
