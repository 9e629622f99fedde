"""How long Snakemake takes to plan all of LibriSpeech: its 2,484 speakers, five arms.

`snakemake --dry-run` of an experiment with invented target speakers. Nothing has run, so every job is
planned; no corpus is needed, because the graph follows from the configuration alone. "plan" leaves out the
printing of each job (`--quiet`), "print" is the dry run that a person asks for. Planning may take three
minutes and 2 GiB. Compare processor seconds where other programs run beside.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

ROOT = Path(__file__).resolve().parents[1]
SPEAKERS = 2_484  # of LibriSpeech
ARMS = ("fp32", "nf4", "nf4-lora", "pqm", "saml")
QUIET = {"plan": ["--quiet", "rules", "progress"], "print": []}


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--speakers", type=int, default=SPEAKERS, help=f"target speakers ({SPEAKERS})")
    parser.add_argument("--together", type=int, default=1, help="the configuration's speakers_together (1)")
    options = parser.parse_args(given)
    prepare(options)
    report = Report("dry_run", f"how soon are {options.speakers} speakers planned?", options)
    jobs: dict[str, dict[str, Any]] = {kind: {} for kind in QUIET}
    with tempfile.TemporaryDirectory() as temporary:
        configure(Path(temporary), speakers=options.speakers, together=options.together)
        contenders = {
            kind: partial(dry_run, Path(temporary), quiet, jobs[kind]) for kind, quiet in QUIET.items()
        }
        timings = interleave(contenders, repeats=options.repeats, warm_up=0)
        report.compare("dry run", timings, reference="plan", more=jobs)
    report.finish()


def configure(folder: Path, *, speakers: int, together: int) -> None:
    """Write the configuration of an experiment that has not run."""
    import yaml

    from saml.config.load import load

    config = load([ROOT / "config" / name for name in ("config.yaml", "librispeech-conformer.yaml")])
    roles = {role: {"named": [], "drawn": 40} for role in ("base", "pretrain", "heldout")}
    config["corpus"]["librispeech"] |= {"roles": roles, "reserved": []}
    config |= {
        "experiment": "planned",
        "target_speakers": [f"speaker{number}" for number in range(speakers)],
        "run_arms": list(ARMS),
        "initial_speakers": None,
        "speakers_together": together,
    }
    (folder / "config").mkdir(parents=True, exist_ok=True)
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def dry_run(folder: Path, quiet: Sequence[str], found: dict[str, Any]) -> float:
    """Plan everything; the number of jobs goes to `found`. Returns the peak memory in 10^6 bytes."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--dry-run", "--cores", "2", "all", *quiet]
    variables = {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / "printed.txt").open("w+") as printed:
        child = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdout=printed, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    total = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    if child.returncode or (total is None and not quiet):
        sys.exit(f"the dry run failed:\n{text[-2000:]}")
    if total is not None:
        found["jobs"] = int(total.group(1))
    return used.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
