"""Contenders take turns, and their time and memory are measured."""

import time
from pathlib import Path

import pytest

from benchmarks._timing import interleave


def test_contenders_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def waits(name: str) -> None:
        order.append(name)
        time.sleep(0.04)

    timings = interleave({"first": lambda: waits("first"), "other": lambda: waits("other")}, repeats=3)
    assert order == ["first", "other", "other", "first"] * 2  # the first round is not counted
    assert len(timings["first"].wall) == 3 and min(timings["first"].wall) >= 0.04
    assert "round 4 of 4: first" in capsys.readouterr().err


def test_memory_is_what_a_contender_took(tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not count peaks anew")
    kept = bytearray(60_000_000)
    timings = interleave(
        {"little": lambda: None, "much": lambda: bytes(bytearray(40_000_000)) and None}, repeats=1, warm_up=0
    )
    assert timings["much"].took_mb >= 40 and timings["little"].took_mb < 20 and len(kept)


def test_a_process_of_its_own_says_its_memory() -> None:
    assert interleave({"other": lambda: 12.5}, repeats=1)["other"].took_mb == 12.5
