"""The variables in a model.bin of CTranslate2: a list of tensors by name, and other names for some of them.

The format is that of `ModelSpec` in ctranslate2/specs/model_spec.py. A file is read from its beginning, and
nothing that it declares is believed before the bytes are there.
"""

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from saml.runtime.errors import SamlError

_VERSION = 6  # of the format, since CTranslate2 3.0
# In the order of the numbers that stand for them.
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
_MOST_VARIABLES = 100_000  # the largest Whisper has some 2,000
_NAME = re.compile(r"\w[\w/.]{0,199}", re.ASCII)
_DIMENSIONS = 3  # of a convolution, the largest


class _Damaged(Exception):
    """The file is not what it should be; the message says where."""


@dataclass(frozen=True)
class Variable:
    """A tensor in a file: where it is, and what."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int  # in bytes

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class ModelFile:
    """The names in a model.bin. Several names of one variable have the same object."""

    path: Path
    kind: str  # such as WhisperSpec
    revision: int  # of the names that this kind has
    variables: dict[str, Variable]

    def read(self, name: str) -> Tensor:
        """The tensor of a name, as it is stored."""
        variable = self.variables[name]
        data = bytearray(variable.size)
        with self.path.open("rb") as file:
            file.seek(variable.offset)
            if file.readinto(data) != len(data):
                raise SamlError(f"{self.path}: was cut short while it was read; copy or download it again")
        return torch.frombuffer(data, dtype=variable.dtype).reshape(variable.shape)


def read_model_file(path: Path, remedy: str) -> ModelFile:
    """The names in the file at `path`; of tensors only types, shapes and places are read.

    Raises SamlError, ending with `remedy`, where it is cut short or damaged, and saying what to do where it
    is another format.
    """
    with path.open("rb") as file:
        reader = _Reader(file, path.stat().st_size)
        _check_version(path, reader)
        try:
            return _model_file(path, reader)
        except _Damaged as error:
            raise SamlError(
                f"{path}: truncated or damaged model of CTranslate2, {reader.size} bytes ({error}); {remedy}"
            ) from None


def _check_version(path: Path, reader: "_Reader") -> None:
    try:
        version = reader.number("I", "its version")
    except _Damaged:
        version = 0
    if 1 <= version < _VERSION:
        raise SamlError(
            f"{path}: has version {version} of CTranslate2's format, and only {_VERSION} can be read; "
            "convert the model again with a CTranslate2 of today"
        )
    if version != _VERSION:
        raise SamlError(
            f"{path}: not in CTranslate2's format of version {_VERSION}; if these are PyTorch weights, call "
            "the file pytorch_model.bin"
        )


def _model_file(path: Path, reader: "_Reader") -> ModelFile:
    kind, revision = reader.text("its kind"), reader.number("I", "its revision")
    variables: dict[str, Variable] = {}

    def add(name: str, variable: Variable) -> None:
        if name in variables:
            raise _Damaged(f"there are two tensors {name}")
        variables[name] = variable

    for _ in range(reader.count("tensors")):
        name = reader.text("the name of a tensor")
        add(name, _variable(reader, name))
    for _ in range(reader.count("aliases")):
        name, target = reader.text("an alias"), reader.text("an alias")
        if target not in variables:
            raise _Damaged(f"{name} stands for {target}, which is not there")
        add(name, variables[target])
    if reader.left:
        raise _Damaged(f"{reader.left} bytes follow its end")
    return ModelFile(path, kind, revision, variables)


def _variable(reader: "_Reader", name: str) -> Variable:
    """The head of a tensor; the reader is moved behind its values."""
    dimensions = reader.number("B", name)
    if dimensions > _DIMENSIONS:
        raise _Damaged(f"{name} has {dimensions} dimensions")
    shape = tuple(reader.number("I", name) for _ in range(dimensions))
    kind, size = reader.number("B", name), reader.number("I", name)
    if kind >= len(_TYPES):
        raise _Damaged(f"{name} has values of an unknown type, {kind}")
    variable = Variable(shape, _TYPES[kind], reader.place)
    if variable.size != size:
        raise _Damaged(f"{name} of shape {list(shape)} has {size} bytes, not {variable.size}")
    if not size:
        raise _Damaged(f"{name} is empty")
    reader.skip(size, name)
    return variable


class _Reader:
    """Numbers and names one after another. Raises _Damaged where the file ends before."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size, self.place = file, size, 0

    @property
    def left(self) -> int:
        """Bytes up to the end of the file."""
        return self.size - self.place

    def number(self, kind: str, what: str) -> int:
        """An unsigned number; `kind` is a letter of the module struct."""
        return int(struct.unpack(f"<{kind}", self._take(struct.calcsize(f"<{kind}"), what))[0])

    def count(self, what: str) -> int:
        """How many of something follow."""
        count = self.number("I", f"the number of {what}")
        if count > _MOST_VARIABLES:
            raise _Damaged(f"it declares {count} {what}")
        return count

    def text(self, what: str) -> str:
        """A length, so many bytes, and the last of them is zero."""
        data = self._take(self.number("H", what), what)
        name = data[:-1].decode("ascii", errors="replace")
        if not data.endswith(b"\0") or not _NAME.fullmatch(name):
            raise _Damaged(f"{what} is no name")
        return name

    def skip(self, size: int, what: str) -> None:
        """Go on behind so many bytes."""
        self._advance(size, what)
        self._file.seek(self.place)

    def _take(self, size: int, what: str) -> bytes:
        self._advance(size, what)
        data = self._file.read(size)
        if len(data) != size:
            raise _Damaged("it becomes shorter while it is read")
        return data

    def _advance(self, size: int, what: str) -> None:
        if size > self.left:
            raise _Damaged(f"it ends within {what}, at byte {self.place}")
        self.place += size
