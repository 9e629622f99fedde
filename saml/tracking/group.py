"""Publication of one experiment's records to one MLflow experiment, as children of their pipeline run."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from saml.tracking import runs, views
from saml.tracking.concerning import of_experiment
from saml.tracking.mlflow_store import KEY, Draft, Known, Store

LARGE = 100_000_000  # bytes; larger files are named in a tag instead of copied


class Group:
    """Adds records of `experiment` to the MLflow experiment `title`.

    A record stays a child of the pipeline run that wrote it, even if later pipeline runs find it unchanged.
    Without a config, new records become children of the latest known pipeline run. `page` is the part of an
    address that opens the comparison of the runs in MLflow's interface.
    """

    def __init__(self, store: Store, title: str, experiment: str, config: Mapping[str, Any] | None) -> None:
        self._store = store
        self._id = store.experiment(title, experiment)
        self.page = views.page(self._id)
        self._known = store.index(self._id)
        self._experiment = experiment
        self._config = config
        self._parent: str | None = None
        self._parent_key = ""
        self._end = 0

    def add(self, new: runs.Found, results: Path) -> tuple[str, list[str]]:
        """Publish one record: "published", "replaced" or "unchanged", and warnings about its files."""
        complete = [known for known in self._known.get(new.key, []) if known.content is not None]
        if any(known.content == new.content for known in complete):
            return "unchanged", []
        start, end = runs.times(new.record)
        parent = self._pipeline_run(start, end)
        files, warnings = runs.artefacts(new, results)
        # Metrics cannot be deleted in MLflow, so a rewritten record gets a new run.
        for known in complete:
            self._store.delete(known.run)
        self._store.write(self._id, _draft(new, start, end, files), parent=parent)
        self._end = max(self._end, end)
        return "replaced" if complete else "published", warnings

    def close(self) -> None:
        """Set the end of the pipeline run to that of its last child."""
        if self._parent is None:
            return
        # Another publisher may have created the same pipeline run; one of the two is kept.
        kept = self._store.settle(self._id, self._parent_key) or self._parent
        if kept != self._parent:
            self._store.move_children(self._id, self._parent, kept)
        self._store.extend(kept, self._end)

    def _pipeline_run(self, start: int, end: int) -> str:
        """The id of the parent run; looked up, or created when first needed."""
        if self._parent is None:
            found = self._find()
            self._parent_key = found.tags[KEY] if found else self._key()
            self._parent = found.run if found else self._create(start, end)
            self._end = found.end if found else 0
        return self._parent

    def _find(self) -> Known | None:
        if self._config is not None:
            candidates = self._known.get(self._key(), [])
        else:
            wanted = {"stage": "pipeline", "experiment": self._experiment}.items()
            candidates = [
                run for known in self._known.values() for run in known if wanted <= run.tags.items()
            ]
        complete = (run for run in candidates if run.content is not None)
        return max(complete, key=lambda run: run.start, default=None)

    def _create(self, start: int, end: int) -> str:
        config = self._config
        text = None if config is None else yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)
        draft = Draft(
            name=f"pipeline {self._experiment}",
            key=self._key(),
            content=self._key(),
            start=start,
            end=end,
            tags={"experiment": self._experiment, "stage": "pipeline"},
            parameters=runs.parameters(of_experiment(config or {})),
            texts={} if text is None else {"config.yaml": text},
        )
        return self._store.write(self._id, draft)

    def _key(self) -> str:
        return runs.digest(["pipeline", self._experiment, self._config])


def _draft(new: runs.Found, start: int, end: int, files: list[tuple[Path, str]]) -> Draft:
    """The run of a record; files that are too large to copy are named in the tag `not_copied`."""
    large = [path for path, _ in files if path.stat().st_size > LARGE]
    tags = runs.tags(new)
    if large:
        tags["not_copied"] = ", ".join(os.path.relpath(path, new.path.parent) for path in large)
    return Draft(
        name=runs.run_name(new),
        key=new.key,
        content=new.content,
        start=start,
        end=end,
        tags=tags,
        parameters=runs.record_parameters(new),
        metrics=runs.metrics(new.record),
        artefacts=[(path, folder) for path, folder in files if path not in large],
    )


def _plain(value: Any) -> Any:
    """`value` as plain dicts, lists and scalars, which YAML can write safely."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
