"""The benchmarks start, and their parts measure what they say."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as everything
from benchmarks import dropout, overhead
from benchmarks._arguments import arguments
from benchmarks._timing import Timing

ROOT = Path(__file__).parents[2]
APART = [
    "overhead",
    "full_size_step",
    "dry_run",
    "scheduling",
    "looping",
    "adapted_context",
    "quantisation",
    "scaled_adapters",
    "transcription",
    "merging",
    "segments",
    "runtimes",
    "transfer",
    "starts",
]
SCRIPTS = [*everything.ALL, *APART]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_is_compared(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    assert module.__doc__.splitlines()[0] in capsys.readouterr().out


def test_every_script_is_explained() -> None:
    page = (ROOT / "benchmarks" / "README.md").read_text()
    assert all(f"**{name}**" in page for name in SCRIPTS)


def test_one_of_them_measures_and_writes(tmp_path: Path) -> None:
    """In a process of its own: it sets threads and the device for all that follows."""
    path = tmp_path / "dropout.json"
    command = ["-m", "benchmarks.dropout", "--shape", "2", "3", "4", "--calls", "2", "--repeats", "2"]
    subprocess.run([sys.executable, *command, "--json", str(path)], check=True, cwd=ROOT, capture_output=True)
    measured = json.loads(path.read_text())
    assert [row["name"] for row in measured["rows"]] == ["torch.nn.Dropout", "ours"]
    assert measured["rows"][0]["ratio"] == 1.0 and len(measured["rows"][1]["rounds"]) == 2
    assert measured["machine"]["cores"] >= 1 and measured["machine"]["versions"]["torch"]
    assert dropout.__doc__


def test_span_of_jobs_by_hand() -> None:
    """0-10 and 5-20 overlap, 5 s between jobs, an interruption of 100 s, 10 s more."""
    intervals = [(125.0, 135.0), (0.0, 10.0), (5.0, 20.0), (25.0, 25.0)]
    assert overhead._span(intervals, pause=60) == (35.0, 30.0, 100.0)


def test_choosing_jobs_is_measured(tmp_path: Path) -> None:
    """Of three ready jobs all are done, and looking at them is no slower than they are."""
    path = tmp_path / "scheduling.json"
    command = ["-m", "benchmarks.scheduling", "--jobs", "2", "--ready", "3", "--json", str(path)]
    subprocess.run([sys.executable, *command], check=True, cwd=ROOT, capture_output=True)
    rows = json.loads(path.read_text())["rows"]
    assert [row["name"] for row in rows[:2]] == ["Snakemake's default limit", "the profile's limit"]
    assert all(row["seconds"] >= 0.5 for row in rows[:2])
    assert [row["more"] for row in rows[2:]] == [{"jobs done": 3}] * 2


def test_overhead_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no benchmark files"):
        overhead.main([str(tmp_path)])


@pytest.mark.parametrize(("like", "mean"), [("librispeech", 12), ("ted", 6)])
def test_lengths_are_like_the_corpus_and_seeded(like: str, mean: float) -> None:
    from benchmarks._speech import lengths

    drawn = lengths(like, 2000, seed=1)
    assert drawn[:5] == lengths(like, 5, seed=1) != lengths(like, 5, seed=2)
    assert abs(sum(drawn) / 2000 - mean) < 0.3 and min(drawn) >= 1 and max(drawn) <= 17


def test_texts_have_as_many_tokens_as_they_should() -> None:
    from benchmarks._models import SIZES, _tokeniser

    tokeniser = _tokeniser("toy")
    assert tokeniser.size == SIZES["toy"][4]
    assert len(tokeniser.encode("ab" * 20)) in (20, 21)  # and the space before


def test_products_are_counted_by_hand() -> None:
    """Five products of (2, 3) x (3, 5) are 300 operations; done again by themselves they are the same."""
    import torch

    from benchmarks._products import count

    a, b = torch.rand(2, 3), torch.rand(3, 5)

    def compute() -> None:
        y = torch.addmm(torch.zeros(2, 5), a, b) + a @ b + torch.bmm(a[None], b[None])[0]
        y.addmm_(a, b).view(1, 2, 5).baddbmm_(a[None], b[None])

    counted = count(compute)
    assert counted.in_products == counted.all == 5 * 2 * 2 * 3 * 5
    assert count(counted.replay("cpu")).in_products == counted.in_products


def test_time_is_told_by_kind_of_operation() -> None:
    """A product of many numbers and one sum of few: nearly all of the time is the product's."""
    import torch

    from benchmarks._products import kind, shares

    a = torch.rand(600, 600)
    found = shares(lambda: [a @ a, a[:2] + a[:2]], "cpu")
    assert next(iter(found)) == "products" and found["products"] > 0.5
    assert sum(found.values()) == pytest.approx(1.0)
    assert [kind(f"aten::{name}") for name in ("addmm", "baddbmm", "_flash_scaled_dot_product", "view")] == [
        "products",
        "products in batches",
        "attention",
        "the rest",
    ]


def test_all_ways_of_adapting_take_their_steps(tmp_path: Path) -> None:
    """The equation, which raises where it computes something else than ours, and several speakers at once."""
    import argparse

    import torch

    from benchmarks import _adapting as ways

    options = argparse.Namespace(
        speakers=2,
        utterances=3,
        batch=2,
        epochs=1,
        size="toy",
        seed=1,
        device="cpu",
        experts=2,
        bfloat16=False,
    )
    data = ways.Data("ted", 1.0, options, tmp_path)
    assert [len(cuts) for cuts in data.steps(data.speakers[0])] == [2, 1]
    ways.one_by_one(data, ways.spec(2), options, equation=True)()
    ways.engine(data, ways.spec(2), options, at_once=2)()
    options.bfloat16 = True
    ways.engine(data, ways.spec(2), options, at_once=2)()
    assert torch.isfinite(data.batch(data.speakers[1]).features).all()


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.util

    from benchmarks import _others

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    there, lacking = _others.found(arguments("").parse_args([]), tmp_path)
    assert not there and [line.split()[0] for line in lacking] == ["openai-whisper", "faster-whisper"]


def test_others_read_the_same_tokens() -> None:
    """In another program's format: our ids for ordinary tokens, Whisper's names after them."""
    from benchmarks._models import SIZES, _tokeniser, whispers_tokeniser

    theirs, ours = whispers_tokeniser("toy"), _tokeniser("toy")
    ordinary = SIZES["toy"][5]
    assert theirs.encode(" aa ab", add_special_tokens=False).ids == ours.encode("aa ab")
    assert theirs.token_to_id("<|endoftext|>") == ordinary == ours.end
    assert theirs.token_to_id("<|notimestamps|>") == ordinary + 1 + 1 + 99 + 5


def test_a_share_is_of_what_a_speaker_costs() -> None:
    from benchmarks.several_speakers import _share

    few, many = Timing(processor=[1.0, 2.0]), Timing(processor=[11.0, 22.0])
    assert _share(few, 10, many, 100) == pytest.approx(1.1)
