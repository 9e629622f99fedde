"""Where runs are published; apart from the publisher, because to say it nobody needs MLflow."""

import os
from pathlib import Path


def default_store(results: Path) -> str:
    """`MLFLOW_TRACKING_URI` where it is set, else an SQLite store below the results."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{results.absolute()}/mlflow/mlflow.db"
