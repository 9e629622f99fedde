"""The run record of a stage, written by the stage itself beside its outputs.

It needs no server: `saml track` publishes records later, so an experiment never waits for a tracking store
and never fails because of one. The file format is described in `saml.tracking.lines`.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saml import __version__
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically
from saml.tracking.lines import Point, Record, format_record, parse_record
from saml.tracking.provenance import git_revision, loaded_versions


class RunRecord:
    """Collects the results of a stage and writes them in one step.

    Created at the start of a stage (the clock starts here), written at its end:

        record = RunRecord(stage="adapt", experiment="an4-conformer", arm="saml", speaker="fash", seed=1)
        record.curve("train/loss", step, loss)
        record.score("dev/loss", best)
        record.file(adapter)
        record.write(path)

    `settings` is the stage's own config section; together with experiment, stage, arm, speaker and seed it
    identifies the run.
    """

    def __init__(
        self,
        *,
        stage: str,
        experiment: str,
        arm: str | None = None,
        speaker: str | None = None,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
        corpus: str | None = None,
        family: str | None = None,
    ) -> None:
        self._began = time.monotonic()
        self._shared = 1
        self._record = Record(
            stage=stage,
            experiment=experiment,
            arm=arm,
            speaker=speaker,
            seed=seed,
            corpus=corpus,
            family=family,
            settings=dict(settings or {}),
            started=time.time(),
            saml=__version__,
        )

    @property
    def record(self) -> Record:
        """The record so far."""
        return self._record

    def curve(self, name: str, step: int, value: float) -> None:
        """Add one point of a curve, e.g. "train/loss" or "dev/accuracy"."""
        self._record.points.append(Point(name, int(step), float(value), round(self._now(), 3)))

    def score(self, name: str, value: float) -> None:
        """Record a final score, e.g. "wer/whisper"; a later value of the same name replaces it."""
        self._record.scores[name] = float(value)

    def size(self, name: str, size: int) -> None:
        """Record the size in bytes of a shipped file, e.g. "adapter"."""
        self._record.sizes[name] = int(size)

    def file(self, path: Path) -> None:
        """Add a file to publish with the run; it need not exist before `saml track` runs."""
        path = Path(os.path.abspath(path))
        if path not in self._record.files:
            self._record.files.append(path)

    def shared_by(self, records: int) -> None:
        """Divide the duration by `records`: so many records describe this work, each with its share."""
        self._shared = records

    def include(self, path: Path) -> None:
        """Merge an earlier record of the same work into this one (decoding includes adaptation's).

        Its curves come first, its durations are added, and where both have a score, size or setting of one
        name, this record's is kept. Sections of settings are merged key by key: of an arm's entry, decoding
        does not know the keys for training, such as learning rates.

        Raises:
            SamlError: the earlier record is missing, half-written or not a record.
        """
        earlier, own = read_record(path), self._record
        own.points = earlier.points + own.points
        own.scores = {**earlier.scores, **own.scores}
        own.sizes = {**earlier.sizes, **own.sizes}
        own.settings = {**earlier.settings, **own.settings}
        for section, ours in own.settings.items():
            theirs = earlier.settings.get(section)
            if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
                own.settings[section] = {**theirs, **ours}
        own.durations = {**earlier.durations, **own.durations}
        for file in earlier.files:
            self.file(file)

    def write(self, path: Path) -> None:
        """Write the record to `path` atomically: a reader sees all of it or none. Folders are created."""
        own = self._record
        own.finished = self._now()
        own.durations[own.stage] = (time.monotonic() - self._began) / self._shared
        own.revision, own.versions, own.host = git_revision(), loaded_versions(), socket.gethostname()
        text = format_record(own, Path(os.path.abspath(path)).parent)
        write_atomically(path, text.encode())

    def _now(self) -> float:
        """Seconds since 1970, never running backwards within a stage (a wall clock may be set back)."""
        return self._record.started + (time.monotonic() - self._began)


def read_record(path: Path) -> Record:
    """Read a record written by `RunRecord.write`.

    Raises:
        SamlError: the file is missing, half-written, damaged, of another format, or not a record.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SamlError(f"{path}: cannot read this run record ({error}); run its stage again") from None
    return parse_record(text, path)
