"""A run record in MLflow's terms: name, tags, parameters, metrics, artefacts. Needs no MLflow itself.

A run is identified by its key (experiment, stage, arm, speaker, seed, folder, settings) and its content (the
bytes of its record): the same key is the same run, a different content means that its record was rewritten.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saml.runtime import layout
from saml.runtime.errors import SamlError
from saml.tracking.concerning import concerning
from saml.tracking.lines import Record, parse_record

# Names of the runs with tables and figures, by stage.
RESULTS = {
    "figures": "RESULTS tables and figures",
    "routing": "RESULTS routing",
    "enrolment": "RESULTS enrolment curve",
    "ablation": "RESULTS ablation",
    "pruning": "RESULTS pruning",
    "embeddings": "RESULTS encoder outputs",
}
# MLflow's limits: letters, digits and these in names; lengths of names, parameters and tags.
# How a record appears in MLflow; raised when that changes, so that unchanged records are published again.
_FORM = b"2"
_UNFIT = re.compile(r"[^\w\-./: ]", re.ASCII)
_NAME, _PARAMETER, _TAG = 250, 6000, 8000


@dataclass(frozen=True)
class Found:
    """A record found under the results; `place` is its folder below the experiment's."""

    path: Path
    place: str
    record: Record
    content: str

    @property
    def key(self) -> str:
        """The identity of the run, as a hash."""
        own = self.record
        return digest(
            [own.experiment, own.stage, own.arm, own.speaker, own.seed, self.place, digest(own.settings)]
        )


@dataclass(frozen=True)
class Metric:
    """One point; `time` in milliseconds since 1970."""

    name: str
    value: float
    time: int
    step: int


def load(path: Path, root: Path) -> Found:
    """Read the record at `path`, below the experiment's folder `root`.

    Raises:
        SamlError: it is missing, half-written, damaged or not a record.
    """
    try:
        data = path.read_bytes()
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SamlError(f"{path}: cannot read this run record ({error}); run its stage again") from None
    place = path.parent.relative_to(root).as_posix()
    return Found(path, place, parse_record(text, path), hashlib.sha256(_FORM + data).hexdigest()[:16])


def digest(value: Any) -> str:
    """A short hash of JSON-like data that does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_name(found: Found) -> str:
    """The name of a run in MLflow's table, e.g. "saml de_f2_r155_p55 seed1" or "prepare-pool base".

    Decoding, the last stage for an arm and speaker, is omitted: the column is narrow.
    """
    own, size, kept = found.record, _enrolment(found), _kept(found)
    if own.stage in RESULTS:
        return RESULTS[own.stage]
    parts = ["" if own.stage == "decode" and own.arm else own.stage, own.arm, own.speaker]
    if own.speaker is None and layout.factors(layout.HELDOUT, found.place):
        parts.append("heldout")
    if own.arm is None and own.speaker is None:
        # Stages that run once, or once per pool: the folder identifies them.
        parts.append(found.place.rpartition("/")[2].strip("."))
    if size:
        parts = [f"enrolment {size}:", *parts]
    if kept:
        parts = [f"pruned {kept}:", *parts]
    trial = _trial(found)
    if trial:
        parts = ["tuning", _trial_stage(found), *parts[1:], trial]
    if own.seed is not None:
        parts.append(f"seed{own.seed}")
    return " ".join(part for part in parts if part)


def _trial(found: Found) -> str | None:
    """The rate of a trial, e.g. "lr0.003"; None for all other runs (see saml.tuning.rates)."""
    for template in (layout.TRIAL_PRETRAINING, layout.TRIAL_ADAPTATION, layout.TRIAL_LOSSES):
        if factors := layout.factors(template, found.place):
            return f"lr{factors['rate']}"
    return None


def _trial_stage(found: Found) -> str:
    """The stage of a trial; for judge-rate "judged pretraining" or "judged adaptation"."""
    factors = layout.factors(layout.TRIAL_LOSSES, found.place)
    return f"judged {factors['kind']}" if factors else found.record.stage


def _enrolment(found: Found) -> str | None:
    """The number of training utterances of a run of the enrolment curve; None for all other runs."""
    factors = layout.factors(layout.ENROLMENT, found.place)
    return factors["size"] if factors else None


def _kept(found: Found) -> str | None:
    """The experts kept in a run of pruning, e.g. "3" or "collapsed"; None for all other runs."""
    factors = layout.factors(layout.PRUNED, found.place)
    return factors["kept"] if factors else None


def tags(found: Found) -> dict[str, str]:
    """Tags to find, filter and group runs by, and the origin of their results."""
    own, trial, size, kept = found.record, _trial(found), _enrolment(found), _kept(found)
    revision = own.revision or "unknown"
    values: dict[str, Any] = {
        "experiment": own.experiment,
        # A trial is not a training of the experiment's models, and a WER of the enrolment curve or of a
        # pruned adapter is not the experiment's own.
        "stage": "tuning" if trial else "enrolment" if size else "pruning" if kept else own.stage,
        "enrolment": size,
        "kept": kept,
        "trial": f"{_trial_stage(found)} {trial}" if trial else None,
        "arm": own.arm,
        "speaker": own.speaker,
        "seed": own.seed,
        "revision": revision,
        "saml": own.saml,
        "host": own.host,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(own.versions.items())),
        "folder": found.place,
        "saml.key": found.key,
        "saml.settings": digest(own.settings),
        "mlflow.source.name": f"saml {own.stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": revision.removesuffix("-dirty") if own.revision else None,
    }
    return {name: str(value)[:_TAG] for name, value in values.items() if value not in (None, "")}


def parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as flat parameters: {"adapters": {"rank": 1}} becomes {"adapters.rank": "1"}."""
    return {_UNFIT.sub("_", name)[:_NAME]: _text(value)[:_PARAMETER] for name, value in _leaves(settings, "")}


def record_parameters(found: Found) -> dict[str, str]:
    """The settings that concern a run, and its factors, because MLflow compares runs by parameters."""
    own = found.record
    factors = {"arm": own.arm, "speaker": own.speaker, "seed": own.seed}
    # `arm` may also be the name of the arm's own section: its leaves are `arm.experts` and so on.
    chosen = {name: value for name, value in factors.items() if value is not None}
    return {**parameters(concerning(own)), **parameters(chosen)}


def metrics(record: Record) -> list[Metric]:
    """Curves with their steps, then scores, sizes (`bytes/...`) and durations (`seconds/...`) at step 0."""
    points = [Metric(_fit(p.name), p.value, _milliseconds(p.time), p.step) for p in record.points]
    curves = {point.name for point in points}
    end = _milliseconds(record.finished)
    finals = {
        **record.scores,
        **{f"bytes/{name}": float(size) for name, size in record.sizes.items()},
        **{f"seconds/{name}": float(seconds) for name, seconds in record.durations.items()},
    }
    for name, value in finals.items():
        # A final score must not become one more point of the curve of the same name.
        fit = _fit(name)
        points.append(Metric(f"final/{fit}" if fit in curves else fit, value, end, 0))
    return points


def times(record: Record) -> tuple[int, int]:
    """Start and end in milliseconds, separated by the durations of all stages in the record."""
    length = sum(float(seconds) for seconds in record.durations.values())
    return _milliseconds(record.finished - max(0.0, length)), _milliseconds(record.finished)


def artefacts(found: Found, results: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """The files to publish with their folder in MLflow ("" is the top), and warnings about other files.

    Only files below `results` are published, whatever paths a record contains.
    """
    files, warnings = [(found.path, "")], []
    home, inside = found.path.parent.resolve(), results.resolve()
    for path in found.record.files:
        real = path.resolve()
        if not real.is_relative_to(inside):
            warnings.append(f"{found.path}: {path} is outside {results}; it is not published")
        elif not real.is_file():
            warnings.append(f"{found.path}: {path} is missing; its run is published without it")
        else:
            near = real.parent.is_relative_to(home)
            folder = real.parent.relative_to(home).as_posix() if near else real.parent.name
            files.append((path, "" if folder == "." else folder))
    return files, warnings


def find_records(results: Path, experiment: str | None = None) -> Iterator[tuple[Path, Path]]:
    """Every `run.jsonl` below `results/<experiment>`, with the experiment's folder, in order of path."""
    for root in sorted(results.iterdir()) if experiment is None else [results / experiment]:
        # The tracking store is beside the experiments; hidden folders hold checkpoints.
        if not root.is_dir() or root.name.startswith(".") or root.name == "mlflow":
            continue
        for folder, names, files in os.walk(root):
            names[:] = sorted(name for name in names if not name.startswith("."))
            if "run.jsonl" in files:
                yield Path(folder) / "run.jsonl", root


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name)[:_NAME]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000) if math.isfinite(seconds) else 0
