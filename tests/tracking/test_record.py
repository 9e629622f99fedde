"""Run records: a record is read back complete or not at all."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from saml.runtime.errors import SamlError
from saml.tracking import RunRecord, read_record


def record(**more):
    run = RunRecord(stage="adapt", experiment="tiny-conformer", arm="saml", speaker="ä b/c", seed=1, **more)
    run.curve("train/loss", 1, 2.0)
    run.curve("train/loss", 2, 1.0)
    run.score("wer/whisper", 0.25)
    run.size("adapter", 1000)
    return run


def test_round_trip(tmp_path):
    run = record(settings={"adapters": {"rank": 1}}, corpus="synthetic", family="conformer")
    run.file(tmp_path / "speakers" / "adapter.safetensors")
    path = tmp_path / "speakers" / "x" / "run.jsonl"
    run.write(path)
    got = read_record(path)
    assert got == run.record
    assert (got.arm, got.speaker, got.seed, got.corpus) == ("saml", "ä b/c", 1, "synthetic")
    assert [(p.name, p.step, p.value) for p in got.points] == [("train/loss", 1, 2.0), ("train/loss", 2, 1.0)]
    assert got.scores == {"wer/whisper": 0.25}
    assert got.sizes == {"adapter": 1000}
    assert got.durations.keys() == {"adapt"}
    assert got.files == [tmp_path / "speakers" / "adapter.safetensors"]
    assert got.versions["python"]


def test_files_move_with_the_record(tmp_path):
    run = record()
    run.file(tmp_path / "a" / "adapter.json")
    run.write(tmp_path / "a" / "run.jsonl")
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_record(tmp_path / "b" / "run.jsonl").files == [tmp_path / "b" / "adapter.json"]


def test_relative_files_are_taken_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = record()
    run.file(Path("results/x/adapter.json"))
    run.file(Path("results/x/adapter.json"))
    run.write(Path("results/x/run.jsonl"))
    assert json.loads(Path("results/x/run.jsonl").read_text().splitlines()[-2])["path"] == "adapter.json"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite(tmp_path, value):
    run = record()
    run.curve("dev/loss", 1, value)
    run.write(tmp_path / "run.jsonl")
    got = read_record(tmp_path / "run.jsonl").points[-1].value
    assert got == value or (math.isnan(got) and math.isnan(value))


def test_include_merges_the_record_of_an_earlier_stage(tmp_path):
    rates = {"learning_rate": {"expert": 0.001}}
    earlier = record(settings={"adaptation": {"epochs": 10}, "arm": {"experts": 6, "adaptation": rates}})
    earlier.score("dev/loss", 0.5)
    earlier.file(tmp_path / "adapter.safetensors")
    earlier.write(tmp_path / "adaptation.jsonl")
    own = {"decoding": {"beams": 4}, "arm": {"experts": 6, "adapted": True}}
    later = RunRecord(stage="decode", experiment="tiny-conformer", settings=own)
    later.score("wer/whisper", 0.2)
    later.curve("test/loss", 1, 0.5)
    later.include(tmp_path / "adaptation.jsonl")
    later.write(tmp_path / "run.jsonl")
    got = read_record(tmp_path / "run.jsonl")
    assert got.stage == "decode"
    assert [point.name for point in got.points] == ["train/loss", "train/loss", "test/loss"]
    assert got.scores == {"wer/whisper": 0.2, "dev/loss": 0.5}
    # Keys of the arm that decoding does not know are kept, such as the arm's own learning rates.
    arm = {"experts": 6, "adapted": True, "adaptation": rates}
    assert got.settings == {"adaptation": {"epochs": 10}, "decoding": {"beams": 4}, "arm": arm}
    assert got.durations.keys() == {"adapt", "decode"}
    assert got.files == [tmp_path / "adapter.safetensors"]


def test_write_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    record().write(path)
    before = path.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        record().write(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.jsonl"]


def test_every_truncation_is_detected(tmp_path):
    path = tmp_path / "run.jsonl"
    record().write(path)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SamlError, match=r"run\.jsonl: .*run record"):
            read_record(path)


def test_a_missing_line_is_detected(tmp_path):
    path = tmp_path / "run.jsonl"
    record().write(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(SamlError, match="half-written"):
        read_record(path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"kind": "curve"},
        {"stage": 3},
        {"seed": "1"},
        {"settings": []},
        {"durations": None},
        {"started": "now"},
    ],
)
def test_a_foreign_first_line_is_refused(tmp_path, change):
    path = tmp_path / "run.jsonl"
    record().write(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(lines[0]) | change), *lines[1:]]))
    with pytest.raises(SamlError, match=str(path)):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"[]", b"\xff\xfe", b"null\n", b"[" * 100_000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(SamlError, match=str(path)):
        read_record(path)


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(SamlError, match=r"gone\.jsonl"):
        read_record(tmp_path / "gone.jsonl")


def test_a_clock_that_runs_backwards_makes_no_negative_duration(tmp_path, monkeypatch):
    run = record()
    monkeypatch.setattr("time.time", lambda: 0.0)
    run.curve("train/loss", 3, 0.5)
    run.write(tmp_path / "run.jsonl")
    got = read_record(tmp_path / "run.jsonl")
    assert got.finished >= got.started
    assert got.points[-1].time >= got.points[0].time
    assert got.durations["adapt"] >= 0


def test_shared_work_is_divided_between_its_records(tmp_path, monkeypatch):
    """Else tables of durations would count a job once for each of its speakers."""
    now = iter([100.0, 112.0, 112.0, 112.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    run = RunRecord(stage="decode", experiment="e")
    run.shared_by(4)
    run.write(tmp_path / "run.jsonl")
    assert read_record(tmp_path / "run.jsonl").durations == {"decode": 3.0}


def test_importing_records_is_light():
    code = "import sys, saml.tracking; print({'mlflow', 'torch', 'numpy', 'yaml'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
