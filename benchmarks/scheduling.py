"""What choosing the next jobs costs Snakemake, as it comes and with this project's profile.

"polling": Snakemake's processor seconds for many short jobs, with its default for `--max-jobs-per-timespan`
and with the profile's; wall time includes waiting for the timespan at the end. "many ready": how many jobs
that take no time are done within --seconds, planning included, when thousands could start and Snakemake looks
at all of them before it starts one, or at as many as the profile has. Jobs are shell commands; processor
seconds are Snakemake's and theirs together.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

ROOT = Path(__file__).resolve().parents[1]
THEIRS, OURS = "Snakemake's default limit", "the profile's limit"
ALL = "looking at all"
SNAKEFILE = """
rule all:
    input: expand("{{job}}.txt", job=range({jobs}))

rule job:
    input: {inputs}
    output: "{{job}}.txt"
    shell: "{command}touch {{output}}"
"""
INPUTS = 6  # of a job; an adaptation has as many


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--jobs", type=int, default=200, help="short ones (200)")
    parser.add_argument("--ready", type=int, default=10_000, help="jobs that could start (10000)")
    parser.add_argument("--seconds", type=float, default=90.0, help="for these (90)")
    options = parser.parse_args(given)
    prepare(options)
    report = Report("scheduling", "what does choosing the next jobs cost Snakemake?", options)
    with tempfile.TemporaryDirectory() as folder:
        _polling(report, options, Path(folder))
        _many_ready(report, options, Path(folder))
    report.finish()


def _polling(report: Report, options: Any, folder: Path) -> None:
    flags = {THEIRS: [], OURS: _limit()}
    timings = interleave(
        {
            name: _run(folder / name, options.jobs, command="sleep 0.5; ", flags=flag)
            for name, flag in flags.items()
        },
        repeats=options.repeats,
        warm_up=0,
    )
    report.compare(f"polling: {options.jobs} jobs of half a second", timings, reference=THEIRS)


def _many_ready(report: Report, options: Any, folder: Path) -> None:
    sample = profile()["scheduler-subsample"]
    flags = {ALL: [], f"looking at {sample}": ["--scheduler-subsample", str(sample)]}
    timings = interleave(
        {
            name: _run(folder / name, options.ready, flags=[*flag, *_limit()], seconds=options.seconds)
            for name, flag in flags.items()
        },
        repeats=1,
        warm_up=0,
    )
    done = {name: {"jobs done": len(list((folder / name).glob("*.txt")))} for name in flags}
    report.compare(
        f"many ready: {options.ready} jobs, {options.seconds:g} s", timings, reference=ALL, more=done
    )


def profile() -> dict[str, Any]:
    """The profile that every run takes over."""
    import yaml

    content = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def _limit() -> list[str]:
    """The profile's limit of starts, as flags."""
    return ["--max-jobs-per-timespan", str(profile()["max-jobs-per-timespan"])]


def _run(
    folder: Path,
    jobs: int,
    *,
    command: str = "",
    flags: Sequence[str] = (),
    seconds: float | None = None,
) -> Callable[[], None]:
    """Run so many jobs in a new folder, for so long at most."""

    def run() -> None:
        folder.mkdir(exist_ok=True)
        names = [f"given{index}" for index in range(INPUTS)]
        for path in (*folder.glob("*.txt"), *(folder / name for name in names)):
            path.unlink(missing_ok=True)
        for name in names:
            (folder / name).touch()
        inputs = ", ".join(f'"{name}"' for name in names)
        text = SNAKEFILE.format(jobs=jobs, inputs=inputs, command=command)
        (folder / "Snakefile").write_text(text, encoding="utf-8")
        start = [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy", "--quiet", "all"]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*start, *flags], cwd=folder, check=True, timeout=seconds, stderr=subprocess.DEVNULL
            )

    return run


if __name__ == "__main__":
    main()
