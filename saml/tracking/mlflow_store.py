"""An MLflow store for the publisher: find runs by key, write a run in few requests, remove duplicates.

MLflow has no unique keys, so two publishers can create the same run at the same time. On SQLite a file lock
prevents this (`exclusive`). On a server each publisher creates and completes its own run and searches again;
a publisher that then finds several complete runs of one key deletes all but the one with the smallest id, so
that one is kept in any order of events. A run is complete once it has the tag `saml.content`, which is set
last.

Artefacts of an SQLite store lie beside it, and the store names them relative to whatever folder a server is
started with (`--artifacts-destination`), so that the folder can be moved (see `saml.tracking.interface`).
"""

import logging
import os
import shutil
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# MLflow reads these on import: no telemetry, no progress bars, and a dead server is noticed within seconds.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "GIT_PYTHON_REFRESH": "quiet",
}.items():
    os.environ.setdefault(_name, _value)

from mlflow.entities import Experiment, Param, Run  # noqa: E402
from mlflow.entities import Metric as MlflowMetric  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

from saml.tracking.runs import Metric, digest  # noqa: E402
from saml.tracking.views import experiment_tags, views  # noqa: E402

for _logger in ("mlflow", "alembic"):
    logging.getLogger(_logger).setLevel(logging.ERROR)

# Errors of a store that is unreachable, full or broken; errors of requests are OSErrors.
STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)

KEY, CONTENT, CLAIM, PARENT = "saml.key", "saml.content", "saml.claim", "mlflow.parentRunId"
_METRICS, _PARAMETERS = 1000, 100  # of one request
_SERVED = "mlflow-artifacts:/"  # the folder of artefacts, wherever a server has it
_ABANDONED = 600.0  # seconds after which an incomplete run on a server counts as abandoned


@dataclass(frozen=True)
class Draft:
    """A run to be written. Times in milliseconds; artefacts are files with their folder in MLflow."""

    name: str
    key: str
    content: str
    start: int
    end: int
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    metrics: Sequence[Metric] = ()
    artefacts: Sequence[tuple[Path, str]] = ()
    texts: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Known:
    """A run in the store; `content` is None while it is incomplete."""

    run: str
    content: str | None
    claim: str
    start: int
    end: int
    tags: Mapping[str, str]


class Store:
    """One MLflow store. `exclusive`: no other publisher can write to it now.

    `artefacts` is the folder of the artefacts where no server keeps them.
    """

    def __init__(self, uri: str, *, artefacts: Path | None = None, exclusive: bool = False) -> None:
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._artefacts = artefacts
        self._exclusive = exclusive

    def answers(self) -> bool:
        """Whether the store answers requests."""
        try:
            self._client.search_experiments(max_results=1)
        except STORE_ERRORS:
            return False
        return True

    def place_of(self, experiment: str) -> str | None:
        """The name of the MLflow experiment with the runs of `experiment`, or None."""
        found = self._client.search_experiments(filter_string=f"tags.`{_mark(experiment)}` LIKE '%'")
        return str(found[0].name) if found else None

    def experiment(self, name: str, holds: str) -> str:
        """The id of the MLflow experiment `name`, tagged with the experiment `holds`; created or restored."""
        identity = self._experiment(name)
        self._client.set_experiment_tag(identity, _mark(holds), holds)
        return identity

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            location = _SERVED if self._artefacts else None
            try:
                tags = experiment_tags()
                return str(self._client.create_experiment(name, artifact_location=location, tags=tags))
            except MlflowException:
                # Another publisher created it meanwhile; any other failure is raised again here.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        self._renew_views(found)
        return str(found.experiment_id)

    def _renew_views(self, found: Experiment) -> None:
        """Give an experiment of an earlier version of saml the present views."""
        for name, value in views().items():
            if found.tags.get(name) != value:
                self._client.set_experiment_tag(found.experiment_id, name, value)

    def index(self, experiment: str) -> dict[str, list[Known]]:
        """The runs of an experiment by key; incomplete runs of interrupted publishers are deleted."""
        found: defaultdict[str, list[Known]] = defaultdict(list)
        for key, known in self._search(experiment, f"tags.`{KEY}` LIKE '%'"):
            if known.content is None and (self._exclusive or _abandoned(known.claim)):
                self.delete(known.run)
            else:
                found[key].append(known)
        for key, runs in found.items():
            if sum(known.content is not None for known in runs) > 1:
                kept = self.settle(experiment, key)
                found[key] = [known for known in runs if known.content is None or known.run == kept]
        return dict(found)

    def write(self, experiment: str, draft: Draft, *, parent: str | None = None) -> str:
        """Write one run and return its id; it counts only once it is complete."""
        arrived = None if self._exclusive else self._arrived(experiment, draft)
        if arrived is not None:
            return arrived
        tags = {**draft.tags, KEY: draft.key, CLAIM: _claim()}
        if parent is not None:
            tags[PARENT] = parent
        created = self._client.create_run(experiment, start_time=draft.start, tags=tags, run_name=draft.name)
        run = created.info.run_id
        try:
            self._fill(created, draft)
        except BaseException:
            # Best effort: a run that cannot be deleted now is found incomplete and deleted later.
            try:
                self.delete(run)
            except STORE_ERRORS:
                pass
            raise
        return self.settle(experiment, draft.key) or run

    def settle(self, experiment: str, key: str) -> str | None:
        """Keep one complete run of `key`, with the children of all duplicates; the id of that run."""
        if self._exclusive:
            return None
        found = self._search(experiment, f"tags.`{KEY}` = '{key}'")
        runs = sorted(known.run for _, known in found if known.content is not None)
        for duplicate in runs[1:]:
            self.move_children(experiment, duplicate, runs[0])
            self.delete(duplicate)
        return runs[0] if runs else None

    def move_children(self, experiment: str, old: str, new: str) -> None:
        """Make the children of the run `old` children of the run `new`."""
        for _, child in self._search(experiment, f"tags.`{PARENT}` = '{old}'"):
            self._client.set_tag(child.run, PARENT, new)

    def extend(self, run: str, end: int) -> None:
        """Set the end of a run, in milliseconds."""
        self._client.set_terminated(run, status="FINISHED", end_time=end)

    def delete(self, run: str) -> None:
        """Delete a run; a run already deleted by another publisher is no error."""
        try:
            self._client.delete_run(run)
        except MlflowException:
            if self._client.get_run(run).info.lifecycle_stage != "deleted":
                raise

    def _fill(self, created: Run, draft: Draft) -> None:
        run = created.info.run_id
        params = [Param(name, value) for name, value in draft.parameters.items()]
        points = [MlflowMetric(m.name, m.value, m.time, m.step) for m in draft.metrics]
        for part in _parts(params, _PARAMETERS):
            self._client.log_batch(run, params=part)
        for part in _parts(points, _METRICS):
            self._client.log_batch(run, metrics=part)
        self._fill_artefacts(created, draft)
        self._client.set_terminated(run, status="FINISHED", end_time=draft.end)
        self._client.set_tag(run, CONTENT, draft.content)

    def _fill_artefacts(self, created: Run, draft: Draft) -> None:
        texts = draft.texts or {}
        if self._artefacts is not None and created.info.artifact_uri.startswith(_SERVED):
            home = self._artefacts / created.info.artifact_uri.removeprefix(_SERVED)
            for path, folder in draft.artefacts:
                (home / folder).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, home / folder / path.name)
            for name, text in texts.items():
                home.mkdir(parents=True, exist_ok=True)
                (home / name).write_text(text, encoding="utf-8")
            return
        # A server, or an experiment of an earlier version of saml, whose artefacts have absolute paths.
        for path, folder in draft.artefacts:
            self._client.log_artifact(created.info.run_id, str(path), folder or None)
        for name, text in texts.items():
            self._client.log_text(created.info.run_id, text, name)

    def _arrived(self, experiment: str, draft: Draft) -> str | None:
        """A run with the same content that another publisher has written meanwhile, or None."""
        found = self._search(experiment, f"tags.`{KEY}` = '{draft.key}'")
        same = (known.run for _, known in found if known.content == draft.content)
        return min(same, default=None)

    def _search(self, experiment: str, condition: str) -> Iterable[tuple[str, Known]]:
        token: str | None = None
        while token != "":
            page = self._client.search_runs([experiment], condition, max_results=1000, page_token=token)
            yield from ((run.data.tags.get(KEY, ""), _known(run)) for run in page)
            token = page.token or ""


def _known(run: Run) -> Known:
    tags = dict(run.data.tags)
    start, end = run.info.start_time or 0, run.info.end_time or 0
    return Known(run.info.run_id, tags.get(CONTENT), tags.get(CLAIM, ""), start, end, tags)


def _mark(experiment: str) -> str:
    return f"saml.experiment.{digest(experiment)}"


def _claim() -> str:
    """Identity of the publisher of a run: host, process, and time in seconds since 1970."""
    return f"{socket.gethostname()} {os.getpid()} {time.time():.0f}"


def _abandoned(claim: str) -> bool:
    """Whether an incomplete run was abandoned: its process on this machine is dead, or it is too old."""
    try:
        host, process, since = claim.split()
        if time.time() - float(since) > _ABANDONED:
            return True
        if host == socket.gethostname():
            os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return True
    except PermissionError:
        pass
    return False


def _parts(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
