"""Results and an MLflow store for the tests of this folder."""

import shutil

import pytest

from saml.tracking.location import default_store
from saml.tracking.mlflow_store import MlflowClient
from tests.tracking.records import ARMS, SPEAKERS, write


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A store after its first use; creating one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def results(tmp_path, empty_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = tmp_path / "results"
    (results / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, results / "mlflow" / "mlflow.db")
    for arm in ARMS:
        for speaker in SPEAKERS:
            write(results, arm, speaker)
    return results


@pytest.fixture
def client(results):
    return MlflowClient(default_store(results))
