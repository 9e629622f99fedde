"""Several target speakers in one job: the files and Snakemake's notes of jobs of their own."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saml.chunks.plan import Chunk
from tests.workflow.workflow_project import (
    ODD_FOLDER,
    SPEAKERS,
    STAND_IN,
    Outcome,
    Project,
    make_project,
    option,
)

NOTHING = "Nothing to be done"
FOUR = [*SPEAKERS, "fr_m3_r165_p40", "nl_m7_r150_p35"]

# The stand-in of `saml` does what `saml each` and `saml crowd` do: what the stage would, for each speaker.
EACH = r"""
if [[ $1 == each || $1 == crowd ]]; then
    speakers=(); outputs=(); into=
    while [[ $1 != -- ]]; do
        case $1 in
            --speakers | --outputs | --keep) into=$1 ;;
            *) if [[ $into == --speakers ]]; then speakers+=("$1"); fi
               if [[ $into == --outputs ]]; then outputs+=("$1"); fi ;;
        esac
        shift
    done
    for speaker in "${speakers[@]}"; do
        for output in "${outputs[@]}"; do make "${output//%speaker%/$speaker}"; done
    done
    exit
fi
for argument in "$@"; do make"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of four target speakers."""
    project = make_project(tmp_path)
    assert STAND_IN.count('\nfor argument in "$@"; do make') == 1
    stand_in = STAND_IN.replace('\nfor argument in "$@"; do make', EACH)
    (tmp_path / "bin/saml").write_text(stand_in, encoding="utf-8")
    project.configure(target_speakers=FOUR, speakers_per_job=3, run_arms=["nf4", "pqm"])
    return project


def made_in_chunks(outcome: Outcome) -> dict[str, int]:
    return {rule: count for rule, count in outcome.jobs.items() if "chunk" in rule}


@pytest.mark.slow
def test_the_division_is_nobodys_business_but_the_jobs(project: Project) -> None:
    outcome = project.snakemake("--cores", "2", "all")
    assert outcome.status == 0, outcome.text
    calls = [call for call in project.calls() if call[0] == "each"]
    # Three speakers and one: preparing, decoding with the bare model, adapting, decoding.
    assert len(calls) == 4 * 2 and "adapt" not in {call[0] for call in project.calls()}
    assert sorted(call.index("--keep") - 2 for call in calls) == [1] * 4 + [3] * 4
    adapt = next(call[call.index("--") + 1 :] for call in calls if "adapt" in call)
    assert option(adapt, "work") == "results/test/.work/adapt/%speaker%/pqm/seed1"
    assert option(adapt, "speaker") == "%speaker%" and option(adapt, "arm") == "pqm"
    assert json.loads(option(adapt, "settings") or "")["partition"] == {"enrolment": 24}
    assert not (project.folder / "hurt").exists()
    assert f"speakers/{ODD_FOLDER}/pqm/seed1/hypotheses.jsonl" in project.times()
    # Any other division finds nothing to do, nor does one more look at this one.
    for size in (3, 1, 2):
        project.configure(target_speakers=FOUR, speakers_per_job=size, run_arms=["nf4", "pqm"])
        again = project.dry_run("all")
        assert again.status == 0 and NOTHING in again.text, again.text
    # What is there is looked after speaker by speaker; who is new, or lacks a file, goes together.
    (project.folder / f"results/test/speakers/{SPEAKERS[0]}/pqm/seed1/adapter.json").unlink()
    project.configure(
        target_speakers=["it_f4_r170_p60", *FOUR],
        speakers_per_job=3,
        run_arms=["nf4", "pqm"],
        adaptation__epochs=3,
    )
    jobs = project.dry_run("all").jobs
    assert jobs["adapt"] == 3 and jobs["adapt_pqm_1_chunk1"] == 1 and "prepare_speaker" not in jobs
    assert jobs["prepare_speaker_chunk1"] == 1


@pytest.mark.slow
def test_who_comes_later_writes_over_nobodys_log(project: Project) -> None:
    """What is left is numbered from 1 again; logs and benchmark files of jobs that had ended stay."""
    kept = {}
    for speakers in (FOUR[:3], FOUR):
        project.configure(target_speakers=speakers, speakers_per_job=3, run_arms=["nf4"])
        outcome = project.snakemake("--cores", "2", "all")
        assert outcome.status == 0 and outcome.jobs["prepare_speaker_chunk1"] == 1, outcome.text
        folders = [
            project.folder / f"results/test/{kind}/each/prepare_speaker" for kind in ("logs", "benchmarks")
        ]
        found = {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}
        assert found.items() >= kept.items()
        kept = found
    firsts = {path.stem for path in kept}
    assert len(kept) == 4 and firsts == {f"from_{name}" for name in (SPEAKERS[0], FOUR[3])}


@pytest.mark.slow
def test_speakers_go_together_where_the_configuration_says_so(project: Project) -> None:
    """The same jobs with another command; nothing else changes, and going back runs nothing again."""
    how: dict[str, Any] = {"target_speakers": FOUR, "speakers_per_job": 3, "run_arms": ["nf4", "pqm"]}
    project.configure(**how, speakers_together=True)
    outcome = project.snakemake("--cores", "2", "all")
    assert outcome.status == 0, outcome.text
    stages = {call[0]: set() for call in project.calls() if "--" in call}
    for call in project.calls():
        if "--" in call:
            stages[call[0]].add(call[call.index("--") + 1])
    assert stages == {"crowd": {"adapt", "decode"}, "each": {"prepare-speaker"}}
    adapt = next(call for call in project.calls() if "adapt" in call and len(FOUR[:3]) == _speakers(call))
    assert option(adapt, "keep") == "results/test/.work/each/adapt/pqm/1/%speaker%"
    assert f"speakers/{ODD_FOLDER}/pqm/seed1/hypotheses.jsonl" in project.times()
    for changed in ({"speakers_together": False}, {"speakers_per_job": 1}, {}):
        project.configure(**{**how, "speakers_together": True, **changed})
        again = project.dry_run("all")
        assert again.status == 0 and NOTHING in again.text, again.text


def _speakers(call: list[str]) -> int:
    return call.index("--keep") - 2


@pytest.mark.parametrize(
    ("rule", "together", "asked"),
    [
        ("adapt", False, 2000),
        ("adapt", True, 2600),
        ("decode", True, 2195),
        ("decode_unadapted", True, 2000),
        ("prepare_speaker", False, 2000),
    ],
)
def test_a_crowd_asks_for_memory_by_its_speakers(rule: str, together: bool, asked: int) -> None:
    work: Any = SimpleNamespace(
        unit=SimpleNamespace(rule=rule), resource=lambda name, attempt: 2000 * attempt
    )
    chunk = Chunk(work, 1, ("u", "v", "w"), together)
    assert chunk.mem_mb(None, 1) == asked and chunk.mem_mb(None, 2) == 2 * asked


def test_one_by_one_there_are_no_chunks(project: Project) -> None:
    project.configure(target_speakers=FOUR, run_arms=["nf4", "pqm"])
    outcome = project.dry_run("all")
    assert outcome.jobs["adapt"] == 4 and not made_in_chunks(outcome)


def test_what_a_job_of_several_keeps_is_not_finished(project: Project) -> None:
    """After a kill, Snakemake counts such files as incomplete; the next job takes them back."""
    for name in ("adapter.safetensors", "adapter.json", "adaptation.jsonl"):
        for folder in ("fr_m3_r165_p40", "nl_m7_r150_p35"):
            path = project.folder / f"results/test/speakers/{folder}/pqm/seed1/{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    kept = project.folder / "results/test/.work/each/adapt/pqm/1/fr_m3_r165_p40/complete.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    outcome = project.dry_run("all")
    messages = [message for message in outcome.messages if message.startswith("adapt/")]
    assert messages == [f"adapt/pqm/1 for 3 speakers, {SPEAKERS[0]} to fr_m3_r165_p40"]
    assert outcome.jobs["adapt"] == 1  # of whom files are there, older than what they are made of
