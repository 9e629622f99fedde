"""A stage on trial: a rate that is too high for it is a finding, not a failure.

A training that diverges leaves what a finished one leaves, but empty files for the adapter, and a run record
with the score `diverged`. Whatever would start from such an adapter is lost too, and says so the same way.
"""

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from saml.runtime.errors import Diverged
from saml.runtime.files import write_atomically
from saml.tracking import RunRecord

SCORE = "diverged"


def run_trial(
    stage: str, function: Callable[..., None], options: Mapping[str, Any], *, family: str | None = None
) -> None:
    """Run a stage that trains an adapter; where it diverges, note that and return.

    Args:
        stage: its name, for the run record.
        function: what does it; may raise `Diverged`. Any other error is handed on.
        options: its keyword arguments.
        family: of the recogniser, for the record of a trial that is lost.
    """
    record = RunRecord(
        stage=stage,
        experiment=options["experiment"],
        arm=options["arm"],
        speaker=options.get("speaker"),
        seed=options["seed"],
        settings=options["settings"],
        corpus=options.get("corpus"),
        family=family,
    )
    start: Path | None = options.get("experts") or options.get("adapter")
    if start is not None and is_lost(start):
        reason = f"{start}: the training that this one starts from has diverged"
    else:
        try:
            function(**options)
            return
        except Diverged as error:
            reason = str(error)
    print(f"saml {stage}: noted as diverged: {reason}", file=sys.stderr)
    lose(options["out_adapter"], options["out_description"])
    record.score(SCORE, 1.0)
    record.write(options["record"])
    if options.get("work") is not None:
        shutil.rmtree(options["work"], ignore_errors=True)


def lose(adapter: Path, description: Path) -> None:
    """Leave the empty files that stand for an adapter which is not to be had."""
    write_atomically(adapter, b"")
    write_atomically(description, b"")


def is_lost(adapter: Path) -> bool:
    """Whether the file stands for an adapter that is not to be had."""
    return adapter.exists() and adapter.stat().st_size == 0
