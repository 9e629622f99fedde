"""One adaptation runs out of memory: it is named, the others finish, and a rerun completes it."""

import sys
from pathlib import Path

import pytest

from tests.faults.experiment import ROOT, Experiment

SPEAKER = "results/tiny/speakers/de_f2_r155_p55"
# Precedes `saml` on PATH: while the file `short` exists, the arm `saml` has little memory.
WRAPPER = f"""#!/bin/bash
if [[ $1 == adapt && " $* " == *" --arm saml "* && -e short ]]; then
    exec {sys.executable} {ROOT}/tests/faults/short_of_memory.py "$@"
fi
exec {sys.executable} -m saml.cli.main "$@"
"""


@pytest.mark.system
@pytest.mark.timeout(1200)
def test_one_adaptation_without_memory_is_named_and_the_others_finish(tmp_path: Path) -> None:
    experiment = Experiment.make(tmp_path / "project")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "saml").write_text(WRAPPER)
    (programs / "saml").chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    adapters = [f"{SPEAKER}/{arm}/seed1/adapter.safetensors" for arm in ("nf4-lora", "saml")]
    (experiment.folder / "short").touch()
    process = experiment.start(*adapters, "--cores", "2", "--retries", "0", PATH=path)
    assert process.wait(timeout=900) != 0
    printed = experiment.printed()
    assert "Adapting saml to de_f2_r155_p55" in printed
    assert "saml adapt: error: out of memory: give the job more, or lower adaptation.batch_utt" in printed
    assert [(experiment.folder / adapter).exists() for adapter in adapters] == [True, False]
    other = (experiment.folder / adapters[0]).stat().st_mtime_ns
    (experiment.folder / "short").unlink()
    experiment.run(*adapters, "--cores", "2", PATH=path)
    assert (experiment.folder / adapters[1]).exists()
    assert (experiment.folder / adapters[0]).stat().st_mtime_ns == other
