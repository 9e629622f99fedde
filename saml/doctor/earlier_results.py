"""Checks of what earlier runs of an experiment left behind, for `saml doctor`.

Snakemake takes a file that exists for done. A model or adapter that was truncated, by a full disk or a copy
that broke off, would fail the jobs that read it, hours later.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from saml.doctor import staleness
from saml.doctor.machine import Line
from saml.models.store import REMEDY, TOKENIZER, read_description
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object
from saml.runtime.layout import TUNING, WORK
from saml.training.checkpoints import FILE_NAME, is_whole

_CHECK = "results"


def earlier_results(config: Mapping[str, Any], root: Path) -> Iterator[Line]:
    """The findings on `results/<experiment>` in the folder `root`; none where nothing has run.

    Of weights the header is compared with the size of the file; checkpoints of unfinished trainings are read.
    """
    results = root / "results" / config["experiment"]
    if not results.is_dir():
        return
    count, damaged = 0, False
    for path in _weights(results):
        count += 1
        for file, problem in _damage(path, results):
            damaged = True
            shown = file.relative_to(root)
            advice = f"delete it, then run snakemake with this file as its target: -- {shown}"
            yield Line("fail", _CHECK, f"{shown}: {problem}", advice)
    for path in sorted((results / WORK).rglob(FILE_NAME)):
        if not _readable(path):
            advice = "nothing, or delete it: that training begins again from the start"
            yield Line("warn", _CHECK, f"{path.relative_to(root)}: a damaged checkpoint", advice)
    for warning in staleness.warnings(config, results):
        finding, _, advice = warning.partition(": ")
        yield Line("warn", _CHECK, finding, advice)
    if not damaged:
        yield Line(
            "ok", _CHECK, f"{count} models and adapters of earlier runs in {results.relative_to(root)}"
        )


def _weights(results: Path) -> Iterator[Path]:
    """All safetensors files of models and adapters."""
    for folder, below, files in os.walk(results):
        below[:] = sorted(name for name in below if name not in staleness.SKIPPED_FOLDERS)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".safetensors"))


def _damage(weights: Path, results: Path) -> Iterator[tuple[Path, str]]:
    """The files of a model or adapter that cannot be read, with the reason."""
    description = weights.with_suffix(".json")
    trial = weights.relative_to(results).parts[0] == TUNING
    if trial and not weights.stat().st_size:
        return  # a trial that diverged, whose files are empty
    try:
        with safe_open(weights, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        yield weights, f"truncated or damaged ({error})"
    tokenizer = weights.with_name(TOKENIZER)
    for file, read in ((description, read_description), (tokenizer, read_json_object)):
        try:
            if file.exists():
                read(file)
        except (SamlError, OSError) as error:
            yield file, str(error).removeprefix(f"{file}: ").removesuffix(f"; {REMEDY}")


def _readable(path: Path) -> bool:
    try:
        return is_whole(path)
    except OSError:
        return False
