import subprocess
import sys
from pathlib import Path

import pytest

SNAKEFILE = """
import threading
from saml import _snakemake

onstart:
    {call}

rule all:
    input: expand("{{job}}.txt", job=range(6))

rule job:
    output: "{{job}}.txt"
    shell: "sleep 0.2; touch {{output}}"

onsuccess:
    waiting = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    print("waiting:", len(waiting))
"""


def timers(folder: Path, call: str, *flags: str) -> int:
    """How many times Snakemake would choose jobs again, though all are done."""
    (folder / "Snakefile").write_text(SNAKEFILE.format(call=call))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    (said,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("waiting: ")]
    return int(said.removeprefix("waiting: "))


@pytest.mark.parametrize(
    ("call", "flags", "waits"),
    [
        # The first is Snakemake's own way. When it has mended that, saml/_snakemake.py can go.
        ("pass", (), True),
        ("_snakemake.without_polling(workflow)", (), False),
        ("_snakemake.without_polling(workflow)", ("--max-jobs-per-timespan", "50/1s"), True),
    ],
)
def test_jobs_are_chosen_when_one_ends_unless_a_limit_was_asked_for(
    tmp_path: Path, call: str, flags: tuple[str, ...], waits: bool
) -> None:
    assert (timers(tmp_path, call, *flags) > 0) is waits
