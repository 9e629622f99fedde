"""Compare two experiments byte for byte.

    python -m tests.faults.compare results/spoken_commands-conformer elsewhere/spoken_commands-conformer

compares all results: data, models, adapters, hypotheses, tables. Logs, benchmarks, run records, pages and
figures contain times or dates and are skipped, as are MLflow's files. Prints the number of compared files; if
some differ or exist in one folder only, prints their names and exits with status 1.
"""

import argparse
import sys
from pathlib import Path

from tests.faults.experiment import differences, outcome


def compare(one: Path, other: Path) -> int:
    """Print the differences between the experiments in two folders; returns 0 if there are none, else 1."""
    first, second = outcome(one), outcome(other)
    for folder, found in ((one, first), (other, second)):
        if not found:
            print(f"compare: {folder}: no experiment; name a folder results/<experiment>", file=sys.stderr)
            return 1
    different = differences(first, second)
    for name in different:
        if name in first and name in second:
            print(f"differs: {name}")
        else:
            print(f"missing in {other if name in first else one}: {name}")
    verdict = f"{len(different)} differ or are missing" if different else "all the same"
    print(f"{len(first.keys() | second.keys())} files compared, {verdict}")
    return 1 if different else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name in ("one", "other"):
        parser.add_argument(name, type=Path, help="an experiment's folder, results/<experiment>")
    options = parser.parse_args()
    return compare(options.one, options.other)


if __name__ == "__main__":
    sys.exit(main())
