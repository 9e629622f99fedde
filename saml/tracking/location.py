"""Where an MLflow store and its artefacts are; a separate module because naming them does not need MLflow."""

import os
import urllib.parse
from pathlib import Path


def default_store(results: Path) -> str:
    """`MLFLOW_TRACKING_URI` if it is set, else an SQLite store below the results."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{results.absolute()}/mlflow/mlflow.db"


def shown(store: str) -> str:
    """The address of a store as it may be printed: with *** for the password, if it has one."""
    parts = urllib.parse.urlsplit(store)
    if parts.password is None:
        return store
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}").geturl()


def database(store: str) -> Path | None:
    """The file of an SQLite store; None for servers and other databases."""
    return Path(store.removeprefix("sqlite:///")) if store.startswith("sqlite:///") else None


def artefacts(store: str) -> Path | None:
    """The folder of the artefacts of an SQLite store, beside its file; None where a server keeps them."""
    file = database(store)
    return None if file is None else file.parent / "artifacts"
