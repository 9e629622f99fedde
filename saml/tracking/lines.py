"""The run record as JSON lines: its content and its format.

One object per line, distinguished by `kind`:

    run     first line: stage, experiment, arm, speaker, seed, corpus, family, settings, times, versions
    curve   one point of a curve: name, step, value, time (seconds since 1970)
    score   a final score: name, value
    size    size of a shipped file: name, bytes
    file    an artefact to publish: its path relative to the record's folder
    end     last line: number of lines above it; without it the record is half-written

Numbers that are not finite are written as the strings "nan", "inf" and "-inf", because JSON has none.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saml.runtime.errors import SamlError

FORMAT = 1


@dataclass(frozen=True)
class Point:
    """One point of a curve; `time` is in seconds since 1970."""

    name: str
    step: int
    value: float
    time: float


@dataclass
class Record:
    """The content of a run record.

    `durations` are seconds by stage (a record may include those of an earlier stage), `sizes` bytes,
    `started` and `finished` seconds since 1970; `files` are absolute paths.
    """

    stage: str
    experiment: str
    arm: str | None = None
    speaker: str | None = None
    seed: int | None = None
    corpus: str | None = None
    family: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0
    finished: float = 0.0
    durations: dict[str, float] = field(default_factory=dict)
    saml: str = ""
    revision: str | None = None
    host: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


# The fields of `Record` in the first line, in this order, with their types.
_HEAD: dict[str, tuple[type, ...]] = {
    "stage": (str,),
    "experiment": (str,),
    "arm": (str, type(None)),
    "speaker": (str, type(None)),
    "seed": (int, type(None)),
    "corpus": (str, type(None)),
    "family": (str, type(None)),
    "settings": (dict,),
    "started": (int, float),
    "finished": (int, float),
    "durations": (dict,),
    "saml": (str,),
    "revision": (str, type(None)),
    "host": (str,),
    "versions": (dict,),
}


def format_record(record: Record, folder: Path) -> str:
    """The text of a record in `folder` (absolute); files are named relative to it."""
    lines = list(_lines(record, folder))
    lines.append({"kind": "end", "lines": len(lines)})
    return "".join(json.dumps(line, allow_nan=False, default=str) + "\n" for line in lines)


def _lines(record: Record, folder: Path) -> Iterator[dict[str, Any]]:
    yield {"kind": "run", "format": FORMAT, **{name: getattr(record, name) for name in _HEAD}}
    for point in record.points:
        yield {
            "kind": "curve",
            "name": point.name,
            "step": point.step,
            "value": _number(point.value),
            "time": point.time,
        }
    for name, value in record.scores.items():
        yield {"kind": "score", "name": name, "value": _number(value)}
    for name, size in record.sizes.items():
        yield {"kind": "size", "name": name, "bytes": size}
    for file in record.files:
        yield {"kind": "file", "path": Path(os.path.relpath(file, folder)).as_posix()}


def parse_record(text: str, path: Path) -> Record:
    """The record in `text`, the content of `path`.

    Raises:
        SamlError: half-written, damaged, of another format, or not a record.
    """
    lines = _objects(text, path)
    head, end = lines[0], lines[-1]
    if head.get("kind") != "run" or head.get("format") != FORMAT:
        raise SamlError(f"{path}: not a run record of format {FORMAT}; run its stage again with this version")
    if end.get("kind") != "end" or end.get("lines") != len(lines) - 1:
        raise SamlError(f"{path}: half-written run record; delete it and run its stage again")
    try:
        record = _head(head)
        for line in lines[1:-1]:
            _add(record, line, Path(os.path.abspath(path)).parent)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SamlError(f"{path}: damaged run record ({error!r}); run its stage again") from None
    return record


def _objects(text: str, path: Path) -> list[dict[str, Any]]:
    """The JSON objects of `text`, one per line; at least one."""
    objects: list[dict[str, Any]] = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            what = f"half-written or damaged run record (line {number})"
            raise SamlError(f"{path}: {what}; delete it and run its stage again")
        objects.append(value)
    return objects


def _head(line: Mapping[str, Any]) -> Record:
    for name, types in _HEAD.items():
        if not isinstance(line[name], types):
            raise TypeError(f"{name} is {line[name]!r}")
    return Record(**{name: line[name] for name in _HEAD})


def _add(record: Record, line: Mapping[str, Any], folder: Path) -> None:
    """Add the content of one line to `record`; unknown kinds are ignored."""
    match line["kind"]:
        case "curve":
            point = Point(str(line["name"]), int(line["step"]), float(line["value"]), float(line["time"]))
            record.points.append(point)
        case "score":
            record.scores[str(line["name"])] = float(line["value"])
        case "size":
            record.sizes[str(line["name"])] = int(line["bytes"])
        case "file":
            record.files.append(Path(os.path.normpath(folder / str(line["path"]))))


def _number(value: float) -> float | str:
    """`value` for JSON; `float()` reads both forms."""
    return value if math.isfinite(value) else str(value)
