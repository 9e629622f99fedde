"""NIST's sclite, where it is installed (Debian: apt-get install sctk)."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

# Debian's package puts it beside PATH.
SCLITE = shutil.which("sclite") or shutil.which("sclite", path="/usr/lib/sctk/bin")
needs_sclite = pytest.mark.skipif(SCLITE is None, reason="apt-get install sctk")

# Hits, substitutions, deletions, insertions.
Four = tuple[int, int, int, int]


def sclite(pairs: Iterable[tuple[str, str]], folder: Path) -> list[Four]:
    """sclite's counts of each pair of reference and hypothesis."""
    lines = list(pairs)
    for name, side in (("ref", 0), ("hyp", 1)):
        text = "".join(f"{pair[side]} (s-{number})\n" for number, pair in enumerate(lines))
        (folder / f"{name}.trn").write_text(text)
    return list(sclite_counts(folder / "ref.trn", folder / "hyp.trn").values())


def sclite_counts(ref: Path, hyp: Path) -> dict[str, Four]:
    """sclite's counts of each utterance in two .trn files, by its name and in their order."""
    assert SCLITE is not None
    command = [
        SCLITE,
        "-i",
        "spu_id",
        "-r",
        str(ref),
        "trn",
        "-h",
        str(hyp),
        "trn",
        "-o",
        "pralign",
        "stdout",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"id: \((\S+)\)\s*\nScores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    return {name: (int(c), int(s), int(d), int(i)) for name, c, s, d, i in found}
