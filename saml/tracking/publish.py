"""Publication of run records to MLflow: idempotent, resumable, and never in the experiment's way.

    one MLflow experiment    a corpus and a family, "spoken_commands: conformer"
    one parent run           a pipeline run: its resolved config
    its child runs           the records that it made

A record that is published is left alone; one that was made again replaces its run. Several publishers may
work at once. The records stay the truth: a store that is away, broken or deleted is filled again later.
"""

import fcntl
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from saml.config.load import load
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress
from saml.tracking import runs
from saml.tracking.group import Group
from saml.tracking.location import default_store
from saml.tracking.mlflow_store import STORE_ERRORS, Store

ATTEMPTS = 3  # at a record that a store which answers does not take


@dataclass
class Counts:
    """What a publication to `store` did, in records; `problems` are lines for a person."""

    store: str
    published: int = 0
    replaced: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        done = f"{self.published} published, {self.replaced} replaced, {self.unchanged} unchanged"
        problems = f"; problems named above: {len(self.problems)}" if self.problems else ""
        return f"run records: {done}{problems}\nlook at {_address(self.store)}"


def publish(
    results: Path,
    *,
    store: str | None = None,
    parent: Mapping[str, Any] | None = None,
    follow: bool = False,
    every: float = 20.0,
    until: Path | None = None,
) -> Counts:
    """Publish every results/<experiment>/**/run.jsonl that the store does not have as it is.

    Args:
        results: the folder of all experiments, or of one.
        store: an MLflow tracking URI; `default_store` where None.
        parent: the resolved config of the pipeline run that made the new records; where None, config.yaml in
            the experiment's folder, else the latest pipeline run that the store knows.
        follow: go on every `every` seconds until SIGINT or SIGTERM, or until the file `until` exists.
        every: seconds between two looks.
        until: a file whose existence ends following, after a last look.

    Raises:
        SamlError: there are no results, or the store does not answer (a follower says so and tries again, and
            raises it only when it is told to stop).
    """
    if not results.is_dir():
        raise SamlError(f"{results}: no such folder of results; nothing to publish")
    publisher = Publisher(results, store, parent)
    if not follow:
        publisher.look()
        return publisher.counts
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while True:
            last = bool(stopped) or (until is not None and until.exists())
            try:
                publisher.look()
            except SamlError as error:
                if last:
                    raise
                _say(f"{error} (trying again in {every:.0f} s)")
            if last:
                return publisher.counts
            _wait(every, stopped)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Publisher:
    """Publishes what is new each time it looks, and remembers what it has seen.

    Whether `given` is the folder of one experiment or of all shows in what lies there. Whoever follows an
    experiment from its start names a folder that is still empty, so it is asked at every look.
    """

    def __init__(self, given: Path, store: str | None, config: Mapping[str, Any] | None) -> None:
        self._given, self._store, self._config = given, store, config
        self._results, self._only = _scope(given)
        self.counts = Counts(self._uri)
        self._seen: dict[Path, tuple[int, int]] = {}
        self._corpora: dict[str, tuple[str | None, str | None]] = {}

    def look(self) -> None:
        """Publish the records that are new or changed since the last look.

        Raises:
            SamlError: the store does not answer; what was published stays published.
        """
        self._results, self._only = _scope(self._given)
        self.counts.store = self._uri
        found, stamps = self._load()
        if not found:
            return
        database = self._database()
        folder = database.parent if database else self._results / "mlflow"
        try:
            with locked(folder / ".lock"):
                artefacts = folder / "artifacts" if database else None
                store = Store(self._uri, artefacts=artefacts, exclusive=database is not None)
                self._publish(store, found, stamps)
        except STORE_ERRORS as error:
            reason = _reason(error)
            what = self._results / self._only if self._only else self._results
            later = f"publish them later with: saml track {what} --store {self._uri}"
            message = f"{self._uri}: this MLflow store does not answer ({reason})"
            raise SamlError(f"{message}; the records in {what} are safe, {later}") from None

    @property
    def _uri(self) -> str:
        return self._store or default_store(self._results)

    def _load(self) -> tuple[list[runs.Found], dict[Path, tuple[int, int]]]:
        """New records, one for each key, and the stamps by which they are known again.

        In the order in which they began: their pipeline run begins with the first of them.
        """
        found: dict[str, runs.Found] = {}
        stamps: dict[Path, tuple[int, int]] = {}
        for path, root in runs.find_records(self._results, self._only):
            try:
                status = path.stat()
            except OSError:
                continue  # Its stage is being run again.
            stamp = status.st_mtime_ns, status.st_size
            if self._seen.get(path) == stamp:
                continue
            try:
                new = runs.load(path, root)
            except SamlError as error:
                # Named once; it is read again when it changes.
                self._seen[path] = stamp
                self._complain(str(error))
                continue
            twin = found.setdefault(new.key, new)
            if twin is not new:
                self._seen[path] = stamp
                self._complain(f"{path}: the same run as {twin.path}; only the latter is published")
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
            for experiment, members in groups.items():
                config = self._config_of(experiment)
                group = Group(store, self._title(store, experiment, config), experiment, config)
                for new in members:
                    self._publish_one(store, group, new)
                    self._seen[new.path] = stamps[new.path]
                    done += 1
                    progress.update(done, runs.run_name(new))
                group.close()

    def _publish_one(self, store: Store, group: Group, new: runs.Found) -> None:
        for attempt in range(ATTEMPTS):
            try:
                outcome, complaints = group.add(new, self._results)
                break
            except STORE_ERRORS as error:
                # A store that answers may have been away only for a moment, or may not like this record.
                if not store.answers():
                    raise
                if attempt == ATTEMPTS - 1:
                    self._complain(f"{new.path}: could not be published ({_reason(error)})")
                    return
        setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
        for complaint in complaints:
            self._complain(complaint)

    def _config_of(self, experiment: str) -> Mapping[str, Any] | None:
        """The config of the run that made the new records of `experiment`: results may hold several."""
        if self._config is not None:
            return self._config if self._config.get("experiment") == experiment else None
        path = self._results / experiment / "config.yaml"
        try:
            return load([path]) if path.exists() else None
        except SamlError as error:
            self._complain(str(error))
            return None

    def _database(self) -> Path | None:
        """The file of an SQLite store, whose folder is made; None for servers and other databases."""
        if not self._uri.startswith("sqlite:///"):
            return None
        path = Path(self._uri.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _remember_corpus(self, new: runs.Found) -> None:
        """Not every stage knows corpus and family; within an experiment all have the same."""
        own, settings = new.record, new.record.settings
        corpus, family = self._corpora.get(own.experiment, (None, None))
        used = _corpus_and_family(settings)
        self._corpora[own.experiment] = corpus or own.corpus or used[0], family or own.family or used[1]

    def _title(self, store: Store, experiment: str, config: Mapping[str, Any] | None) -> str:
        """The MLflow experiment of `experiment`: as its config says, else where it is, else as records do."""
        known = _corpus_and_family(config or {})
        if not all(known):
            place = store.place_of(experiment)
            if place is not None:
                return place
            known = known[0] or self._corpora[experiment][0], known[1] or self._corpora[experiment][1]
        return f"{known[0]}: {known[1]}" if all(known) else experiment

    def _complain(self, problem: str) -> None:
        self.counts.problems.append(problem)
        _say(problem)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`: whoever has it is waited for, and a killed process lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another `saml track` is publishing to {path.parent}; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _address(store: str) -> str:
    """Where a person sees what was published."""
    if store.startswith(("http://", "https://")):
        address = store.rstrip("/")
    else:
        address = f"http://127.0.0.1:5000 after: mlflow ui --backend-store-uri {store}"
    return f"{address}\n(choose the experiment, Training runs, and a comparison under Views)"


def _scope(results: Path) -> tuple[Path, str | None]:
    """The folder of all experiments, and the experiment where `results` is the folder of one."""
    parts = ("data", "models", "pretrained", "speakers", "heldout", "tables", "config.yaml")
    if any((results / part).exists() for part in parts):
        results = results.absolute()
        return results.parent, results.name
    return results, None


def _corpus_and_family(settings: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """What corpus and family the sections of a config name, where they do."""

    def entry(section: str, name: str) -> str | None:
        inner = settings.get(section)
        value = inner.get(name) if isinstance(inner, Mapping) else None
        return value if isinstance(value, str) else None

    return entry("corpus", "name"), entry("model", "family")


def _wait(seconds: float, stopped: list[int]) -> None:
    end = time.monotonic() + seconds
    while not stopped and time.monotonic() < end:
        time.sleep(0.1)


def _reason(error: BaseException) -> str:
    """An error in one short line: a failed request carries its whole history in brackets."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.partition(" with exception ")[0][:300]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
