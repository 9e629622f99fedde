"""Run the quick default of all benchmarks, one after another, and put what they measured into one file."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# In this order; overhead joins in where an experiment's folder is given.
ALL = (
    "start_up",
    "dropout",
    "features",
    "loading",
    "whisper_context",
    "adaptation",
    "several_speakers",
    "peak",
    "compiled",
    "decoding",
)
SIZED = ("loading", "adaptation", "several_speakers", "peak", "compiled", "decoding")
# What some do less of, to be done in minutes; --full leaves these out.
QUICK = {
    "start_up": ["--repeats", "2"],
    "several_speakers": ["--many", "40", "--repeats", "1"],
    "compiled": ["--repeats", "1", "--utterances", "2"],
    "loading": ["--size", "mini", "--repeats", "3"],
    "whisper_context": ["--scored", "90", "--timed", "16", "--repeats", "2"],
}


def main(given: Sequence[str] | None = None) -> int:
    """Run them; the exit status is 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ALL, default=list(ALL), help="(default: all)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks.json"), metavar="PATH")
    parser.add_argument("--full", action="store_true", help="each one's own defaults: longer")
    parser.add_argument("--results", type=Path, help="results/<experiment>, for overhead")
    parser.add_argument("--size", help="of networks: mini, tiny.en, base.en (default: each one's own)")
    parser.add_argument("--repeats", type=int, help="rounds (default: each one's own)")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    options = parser.parse_args(given)
    commands = [[name, *_flags(name, options)] for name in options.only]
    if options.results is not None:
        commands.append(["overhead", str(options.results)])
    measured, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, *flags in commands:
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", f"benchmarks.{name}", *flags, "--json", str(path)]
            if subprocess.run(command, check=False).returncode:
                failed.append(name)
            elif path.exists():  # else it has said why it has nothing to measure
                measured.append(json.loads(path.read_text()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(measured, indent=2) + "\n")
    print(f"\n{options.out}: {', '.join(each['benchmark'] for each in measured)}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _flags(name: str, options: argparse.Namespace) -> list[str]:
    flags = [] if options.full else list(QUICK.get(name, []))
    flags += ["--threads", str(options.threads), "--device", options.device]
    if options.repeats is not None:
        flags += ["--repeats", str(options.repeats)]
    if options.size is not None and name in SIZED:
        flags += ["--size", options.size]
    return flags


if __name__ == "__main__":
    sys.exit(main())
