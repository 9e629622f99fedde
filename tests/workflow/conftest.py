"""Projects to run the workflow in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.workflow_project import Outcome, Project, make_project


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Outcome]]:
    """A project in which everything has run, and what that printed. Tests change copies of it only."""
    project = make_project(tmp_path_factory.mktemp("project"))
    yield project, project.snakemake("--cores", "2", "all")


@pytest.fixture
def finished(first_run: tuple[Project, Outcome], tmp_path: Path) -> Project:
    """A copy of a project in which everything has run."""
    return first_run[0].copy(tmp_path)
