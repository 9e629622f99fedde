"""Publication of run records to MLflow: idempotent, resumable, without any effect on the experiment.

    one MLflow experiment    a corpus and a family, "spoken_commands: conformer"
    one parent run           a pipeline run: its resolved config
    its child runs           the records that it wrote

A published record is left unchanged; a rewritten one replaces its run. Several publishers may run
concurrently. The records are the source: a store that was unreachable, broken or deleted can be filled later.
"""

import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from saml.config.load import load
from saml.runtime.errors import SamlError
from saml.runtime.layout import TOP
from saml.runtime.progress import Progress
from saml.tracking import runs
from saml.tracking.group import Group
from saml.tracking.location import artefacts, database, default_store, shown
from saml.tracking.lock import locked
from saml.tracking.mlflow_store import STORE_ERRORS, Store

ATTEMPTS = 3  # to write a record to a store that answers


@dataclass
class Counts:
    """Numbers of records published to `store`, by outcome; `problems` are lines to print.

    `pages` are the ends of addresses in MLflow's interface, by title of the MLflow experiment.
    """

    store: str
    published: int = 0
    replaced: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        done = f"{self.published} published, {self.replaced} replaced, {self.unchanged} unchanged"
        problems = f"; problems listed above: {len(self.problems)}" if self.problems else ""
        return f"run records: {done}{problems}"


def publish(
    results: Path,
    *,
    store: str | None = None,
    parent: Mapping[str, Any] | None = None,
    follow: bool = False,
    every: float = 20.0,
    until: Path | None = None,
) -> Counts:
    """Publish every `results/<experiment>/**/run.jsonl` that is not in the store in its present form.

    Args:
        results: the folder of all experiments, or of one.
        store: an MLflow tracking URI; `default_store` if None.
        parent: the resolved config of the pipeline run that wrote the new records; if None, config.yaml in
            the experiment's folder, else the latest pipeline run in the store.
        follow: repeat until SIGINT or SIGTERM, or until the file `until` exists.
        every: seconds between two repetitions.
        until: a file whose existence ends following, after one more repetition.

    Raises:
        SamlError: there are no results, or the store does not answer (while following, the error is printed
            and publication tried again; it is raised only at the last repetition).
    """
    if not results.is_dir():
        raise SamlError(f"{results}: no such folder; nothing to publish")
    publisher = Publisher(results, store, parent)
    if not follow:
        publisher.publish_new()
        return publisher.counts
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while True:
            last = bool(stopped) or (until is not None and until.exists())
            try:
                publisher.publish_new()
            except SamlError as error:
                if last:
                    raise
                _print_error(f"{error} (trying again in {every:.0f} s)")
            if last:
                return publisher.counts
            _wait(every, stopped)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Publisher:
    """Publishes new records at each call of `publish_new`, and remembers those it has read.

    Whether `given` is the folder of one experiment or of all is decided by its content, at every call: a
    follower may be started on the folder of one experiment while that is still empty.
    """

    def __init__(self, given: Path, store: str | None, config: Mapping[str, Any] | None) -> None:
        self._given, self._store, self._config = given, store, config
        self._results, self._only = _scope(given)
        self.counts = Counts(self._uri)
        self._seen: dict[Path, tuple[int, int]] = {}
        self._corpora: dict[str, tuple[str | None, str | None]] = {}

    def publish_new(self) -> None:
        """Publish the records that are new or changed since the last call.

        Raises:
            SamlError: the store does not answer; records published so far stay published.
        """
        self._results, self._only = _scope(self._given)
        self.counts.store = self._uri
        found, stamps = self._load()
        if not found:
            return
        file = self._database()
        folder = file.parent if file else self._results / "mlflow"
        try:
            with locked(folder / ".lock"):
                store = Store(self._uri, artefacts=artefacts(self._uri), exclusive=file is not None)
                self._publish(store, found, stamps)
        except STORE_ERRORS as error:
            reason = _reason(error, self._uri)
            what = self._results / self._only if self._only else self._results
            later = f"publish them later with: saml track {what} --store {shown(self._uri)}"
            message = f"{shown(self._uri)}: this MLflow store does not answer ({reason})"
            raise SamlError(f"{message}; the records in {what} are safe, {later}") from None

    @property
    def _uri(self) -> str:
        return self._store or default_store(self._results)

    def _load(self) -> tuple[list[runs.Found], dict[Path, tuple[int, int]]]:
        """New records, one for each key, and the stamps by which unchanged records are recognised.

        In order of start time: the pipeline run starts with the first of them.
        """
        found: dict[str, runs.Found] = {}
        stamps: dict[Path, tuple[int, int]] = {}
        for path, root in runs.find_records(self._results, self._only):
            try:
                status = path.stat()
            except OSError:
                continue  # deleted meanwhile: its stage is running again
            stamp = status.st_mtime_ns, status.st_size
            if self._seen.get(path) == stamp:
                continue
            try:
                new = runs.load(path, root)
            except SamlError as error:
                # Reported once; the file is read again when it changes.
                self._seen[path] = stamp
                self._report(str(error))
                continue
            first = found.setdefault(new.key, new)
            if first is not new:
                self._seen[path] = stamp
                self._report(f"{path}: the same run as {first.path}; only the latter is published")
                continue
            stamps[path] = stamp
            self._remember_corpus(new)
        return sorted(found.values(), key=lambda new: runs.times(new.record)), stamps

    def _publish(self, store: Store, found: list[runs.Found], stamps: Mapping[Path, tuple[int, int]]) -> None:
        groups: dict[str, list[runs.Found]] = {}
        for new in found:
            groups.setdefault(new.record.experiment, []).append(new)
        done = 0
        with Progress("publishing run records", len(found)) as progress:
            for experiment, records in groups.items():
                config = self._config_of(experiment)
                title = self._title(store, experiment, config)
                group = Group(store, title, experiment, config)
                self.counts.pages[title] = group.page
                for new in records:
                    self._publish_one(store, group, new)
                    self._seen[new.path] = stamps[new.path]
                    done += 1
                    progress.update(done, runs.run_name(new))
                group.close()

    def _publish_one(self, store: Store, group: Group, new: runs.Found) -> None:
        for attempt in range(ATTEMPTS):
            try:
                outcome, warnings = group.add(new, self._results)
                break
            except STORE_ERRORS as error:
                # A store that answers was unreachable only for a moment, or refuses this record.
                if not store.answers():
                    raise
                if attempt == ATTEMPTS - 1:
                    self._report(f"{new.path}: could not be published ({_reason(error, self._uri)})")
                    return
        setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
        for warning in warnings:
            self._report(warning)

    def _config_of(self, experiment: str) -> Mapping[str, Any] | None:
        """The config of the pipeline run that wrote the new records of `experiment`, or None."""
        if self._config is not None:
            return self._config if self._config.get("experiment") == experiment else None
        path = self._results / experiment / "config.yaml"
        try:
            return load([path]) if path.exists() else None
        except SamlError as error:
            self._report(str(error))
            return None

    def _database(self) -> Path | None:
        """The file of an SQLite store, whose folder is created; None for servers and other databases."""
        path = database(self._uri)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _remember_corpus(self, new: runs.Found) -> None:
        """Not every stage records corpus and family; they are the same within an experiment."""
        own = new.record
        corpus, family = self._corpora.get(own.experiment, (None, None))
        used = _corpus_and_family(own.settings)
        self._corpora[own.experiment] = corpus or own.corpus or used[0], family or own.family or used[1]

    def _title(self, store: Store, experiment: str, config: Mapping[str, Any] | None) -> str:
        """The MLflow experiment of `experiment`: by its config, else by the store, else by its records."""
        known = _corpus_and_family(config or {})
        if not all(known):
            place = store.place_of(experiment)
            if place is not None:
                return place
            known = known[0] or self._corpora[experiment][0], known[1] or self._corpora[experiment][1]
        return f"{known[0]}: {known[1]}" if all(known) else experiment

    def _report(self, problem: str) -> None:
        self.counts.problems.append(problem)
        _print_error(problem)


def _scope(results: Path) -> tuple[Path, str | None]:
    """The folder of all experiments, and the experiment where `results` is the folder of one."""
    if any((results / part).exists() for part in (*TOP, "config.yaml")):
        results = results.absolute()
        return results.parent, results.name
    return results, None


def _corpus_and_family(settings: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Corpus and family in the sections of a config, each None if missing."""

    def entry(section: str, name: str) -> str | None:
        inner = settings.get(section)
        value = inner.get(name) if isinstance(inner, Mapping) else None
        return value if isinstance(value, str) else None

    return entry("corpus", "name"), entry("model", "family")


def _wait(seconds: float, stopped: list[int]) -> None:
    end = time.monotonic() + seconds
    while not stopped and time.monotonic() < end:
        time.sleep(0.1)


def _reason(error: BaseException, store: str) -> str:
    """An error in one short line; the message of a failed request has the address and the whole history."""
    store = store.rstrip("/")
    line = (str(error).splitlines() or [type(error).__name__])[0].replace(store, shown(store))
    return line.partition(" with exception ")[0][:300]


def _print_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
