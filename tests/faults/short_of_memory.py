"""`saml` in a process that runs out of memory when its training begins, by a limit on this process.

    python tests/faults/short_of_memory.py adapt ...

The limit is slightly above the memory in use at that point; the first batch exceeds it.
"""

import resource
import sys
from typing import Any

import torch

from saml.cli import main as cli
from saml.training.engine import Training

ROOM = 32 << 20
BATCH = 1 << 30

_run = Training.run


def short(*arguments: Any, **named: Any) -> Any:
    """`Training.run` with memory for little more than what there is."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.empty(BATCH, dtype=torch.uint8)
    return _run(*arguments, **named)


if __name__ == "__main__":
    Training.run = short  # type: ignore[method-assign]
    sys.exit(cli.main(sys.argv[1:]))
