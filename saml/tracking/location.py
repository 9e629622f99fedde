"""The default MLflow store; a separate module because naming it does not need MLflow."""

import os
from pathlib import Path


def default_store(results: Path) -> str:
    """`MLFLOW_TRACKING_URI` if it is set, else an SQLite store below the results."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{results.absolute()}/mlflow/mlflow.db"
