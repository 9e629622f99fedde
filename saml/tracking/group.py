"""The records of one experiment on their way into one MLflow experiment, below the run of their pipeline."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from saml.tracking import runs
from saml.tracking.mlflow_store import KEY, Draft, Known, Store

LARGE = 100_000_000  # bytes; larger files are named in a tag and stay where they are


class Group:
    """Adds records of `experiment` to the MLflow experiment `title`.

    A record stays below the pipeline run that made it, whatever later pipeline runs find unchanged.
    Without a config, new records go below the latest pipeline run that is known.
    """

    def __init__(self, store: Store, title: str, experiment: str, config: Mapping[str, Any] | None) -> None:
        self._store = store
        self._id = store.experiment(title, experiment)
        self._known = store.index(self._id)
        self._experiment = experiment
        self._config = config
        self._parent: str | None = None
        self._parent_key = ""
        self._end = 0

    def add(self, new: runs.Found, results: Path) -> tuple[str, list[str]]:
        """Publish one record: "published", "replaced" or "unchanged", and complaints about its files."""
        complete = [known for known in self._known.get(new.key, []) if known.content is not None]
        if any(known.content == new.content for known in complete):
            return "unchanged", []
        start, end = runs.times(new.record)
        parent = self._pipeline_run(start, end)
        files, complaints = runs.artefacts(new, results)
        # Metrics cannot be taken back in MLflow, so a record that was made again gets a new run.
        for known in complete:
            self._store.delete(known.run)
        self._store.write(self._id, _draft(new, start, end, files), parent=parent)
        self._end = max(self._end, end)
        return "replaced" if complete else "published", complaints

    def close(self) -> None:
        """Let the pipeline run end with the last of its children."""
        if self._parent is None:
            return
        # Another publisher may have made the same pipeline run; one of the two has stayed.
        kept = self._store.settle(self._id, self._parent_key) or self._parent
        if kept != self._parent:
            self._store.move_children(self._id, self._parent, kept)
        self._store.extend(kept, self._end)

    def _pipeline_run(self, start: int, end: int) -> str:
        """The id of the parent run; found, or made when it is first needed."""
        if self._parent is None:
            found = self._find()
            self._parent_key = found.tags[KEY] if found else self._key()
            self._parent = found.run if found else self._make(start, end)
            self._end = found.end if found else 0
        return self._parent

    def _find(self) -> Known | None:
        if self._config is not None:
            candidates = self._known.get(self._key(), [])
        else:
            everything = [known for members in self._known.values() for known in members]
            candidates = [known for known in everything if known.tags.get("stage") == "pipeline"]
            candidates = [known for known in candidates if known.tags.get("experiment") == self._experiment]
        candidates = [known for known in candidates if known.content is not None]
        return max(candidates, key=lambda known: known.start, default=None)

    def _make(self, start: int, end: int) -> str:
        config = self._config
        text = None if config is None else yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)
        draft = Draft(
            name=f"pipeline {self._experiment}",
            key=self._key(),
            content=self._key(),
            start=start,
            end=end,
            tags={"experiment": self._experiment, "stage": "pipeline"},
            parameters=runs.parameters(config or {}),
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
    """`value` out of plain mappings, lists and scalars, which YAML can write safely."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
