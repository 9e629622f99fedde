"""MLflow's interface on published runs: the command that starts it, and the links that open a comparison."""

import os
import shlex
import sys
from pathlib import Path

from saml.runtime.errors import SamlError
from saml.tracking.location import artefacts, shown
from saml.tracking.publish import Counts, publish

PORT = 5000  # MLflow's own default


def is_server(store: str) -> bool:
    """Whether a store is a server, which has an interface already."""
    return store.startswith(("http://", "https://"))


def links(counts: Counts, port: int = PORT) -> list[str]:
    """For each MLflow experiment that has the published runs, the address of the comparison of its runs."""
    address = shown(counts.store).rstrip("/") if is_server(counts.store) else f"http://127.0.0.1:{port}"
    return [f"{address}{page}" for page in counts.pages.values()]


def where_to_look(counts: Counts, results: Path, store: str | None) -> str:
    """How to open the comparison of the runs; empty if there are none."""
    if not counts.pages:
        return ""
    found = "\n".join(f"  {link}" for link in links(counts))
    if is_server(counts.store):
        return f"Comparison of the runs:\n{found}"
    option = f" --store {shlex.quote(shown(store))}" if store else ""
    start = f"saml mlflow {shlex.quote(str(results))}{option}"
    return f"Comparison of the runs: start `{start}`, then open\n{found}"


def command(store: str, port: int) -> list[str]:
    """The command of MLflow's interface on a store; artefacts are found wherever the store has been moved."""
    start = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    kept = artefacts(store)
    destination = [] if kept is None else ["--artifacts-destination", str(kept.absolute())]
    return [*start, "--backend-store-uri", store, *destination]


def open_interface(results: Path, *, store: str | None = None, port: int = PORT) -> None:
    """Publish new run records, print the links, and become MLflow's interface, which ends with Ctrl-C.

    Args:
        results: the folder of all experiments, or of one.
        store: an MLflow tracking URI; `default_store` if None. A server has an interface; its links are
            printed.
        port: the port of loopback at which the interface answers.

    Raises:
        SamlError: there are no results, no run has ended yet, or the store does not answer.
    """
    counts = publish(results, store=store)
    if not counts.pages:
        raise SamlError(f"{results}: there is no run to show yet; run the experiment first")
    print(counts)
    print("Comparison of the runs:", *(f"  {link}" for link in links(counts, port)), sep="\n")
    if is_server(counts.store):
        return
    print("MLflow's interface starts and answers there within half a minute; Ctrl-C ends it.", flush=True)
    # As in the publisher; MLflow warns of a missing git otherwise, and sends usage data.
    os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"})
    start = command(counts.store, port)
    os.execv(start[0], start)
