"""A stage as a trial of the learning-rate sweep: a rate that is too high is a result, not a failure.

A training that diverges writes the outputs of a finished one, but with empty adapter files and a run record
with the score `diverged`. A trial that would start from such an adapter is recorded as diverged too.
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
    """Run a stage that trains an adapter; if it diverges, record that and return.

    Args:
        stage: name of the stage, for the run record.
        function: the stage; may raise `Diverged`. Any other error is passed on.
        options: keyword arguments of the stage.
        family: of the recogniser, for the record of a diverged trial.
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
    if start is not None and is_diverged(start):
        reason = f"{start}: the training of this initial adapter has diverged"
    else:
        try:
            function(**options)
            return
        except Diverged as error:
            reason = str(error)
    print(f"saml {stage}: recorded as diverged: {reason}", file=sys.stderr)
    write_diverged(options["out_adapter"], options["out_description"])
    record.score(SCORE, 1.0)
    record.write(options["record"])
    if options.get("work") is not None:
        shutil.rmtree(options["work"], ignore_errors=True)


def write_diverged(adapter: Path, description: Path) -> None:
    """Write the empty files that stand for the adapter of a diverged training."""
    write_atomically(adapter, b"")
    write_atomically(description, b"")


def is_diverged(adapter: Path) -> bool:
    """Whether the file stands for the adapter of a diverged training."""
    return adapter.exists() and adapter.stat().st_size == 0
