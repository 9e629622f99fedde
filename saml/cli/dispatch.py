"""Calls the function behind a command, with the number of threads that it may use."""

import importlib
import os
from collections.abc import Callable
from typing import Any


def run(path: str, options: dict[str, Any], *, offline: bool = True) -> Any:
    """Call the function "module:name" with all of `options` but its threads, which are set first.

    `offline`: libraries do not ask the Hugging Face hub; false for a command that may open a model there.
    """
    limit_threads(options.pop("threads"))
    if offline:
        stay_offline()
    return call(path, options)


def call(path: str, options: dict[str, Any]) -> Any:
    """Call the function "module:name" with `options` as its keyword arguments."""
    return function(path)(**options)


def function(path: str) -> Callable[..., Any]:
    """The function "module:name"; only now is its module imported."""
    module, _, name = path.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def limit_threads(threads: int) -> None:
    """Let every numerical library of this process use `threads` threads; before any of them is imported."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    # Threads that have nothing to do sleep. Beside other jobs, those that stay awake for their next piece of
    # work keep the ones that have some from the cores: a training on two threads took ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # bitsandbytes de-quantises with torch.compile: to start the compiler takes longer than the work, and
    # without a C++ compiler it is tried in vain.
    os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
    # Needed by deterministic matrix products on a GPU; read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def stay_offline() -> None:
    """Keep libraries from asking the Hugging Face hub, in this process; before any of them is imported.

    Only for commands whose inputs are all here: one that may open a given base model needs the hub.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
