"""The page about faults names existing tests, and has the right number of bad inputs."""

import re
from collections import Counter
from pathlib import Path

from tests.hostile.cases import CASES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/when-things-go-wrong.md").read_text(encoding="utf-8")


def test_every_fault_is_shown_by_a_test_that_exists() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert len(named) >= 20
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_bad_inputs_are_counted() -> None:
    kinds = Counter(case.kind for case in CASES)
    rows = re.findall(r"^\| (`[^:]*): .*? \| (\d+) \|", PAGE, re.MULTILINE)
    stated = {tuple(re.findall(r"`(\w+)`", names)): int(count) for names, count in rows}
    assert stated == {names: sum(kinds[name] for name in names) for names in stated}
    assert sum(stated.values()) == len(CASES) >= 60
