"""`speakers_together`: groups of target speakers that are adapted to, decoded and routed in one job."""

from typing import Any

import pytest

from saml.cli import main as cli
from tests.workflow.workflow_project import ODD_FOLDER, SPEAKERS, Outcome, Project, option, options

THREE = [*SPEAKERS, "fr_m3_r165_p40"]
HOW: dict[str, Any] = {"target_speakers": THREE, "run_arms": ["nf4", "saml"], "speakers_together": 2}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    """A project in which everything has run, two speakers in a job, and what that printed."""
    from tests.workflow.workflow_project import make_project

    project = make_project(tmp_path_factory.mktemp("together"))
    project.configure(**HOW)
    return project, project.snakemake("--cores", "2", "all")


def test_a_job_takes_a_group_and_the_last_what_is_left(together: tuple[Project, Outcome]) -> None:
    project, outcome = together
    assert outcome.status == 0, outcome.text
    assert {rule: count for rule, count in outcome.jobs.items() if "_group" in rule} == {
        "adapt_group1": 1,
        "adapt_group2": 1,
        "decode_group1": 2,
        "decode_group2": 2,
        "routes_group1": 1,
        "routes_group2": 1,
    }
    assert not {"adapt", "decode", "routes"} & outcome.jobs.keys() and outcome.jobs["prepare_speaker"] == 3
    adaptations = [call for call in project.calls() if call[0] == "adapt"]
    assert sorted(options(call, "speakers") for call in adaptations) == sorted([THREE[:2], THREE[2:]])
    decodings = [call for call in project.calls() if call[0] == "decode" and options(call, "speakers")]
    assert {option(call, "adapter") for call in decodings} == {
        None,
        "results/test/speakers/{speaker}/saml/seed1/adapter.safetensors",
    }
    assert not (project.folder / "hurt").exists()


def test_results_lie_where_those_of_single_speakers_do(together: tuple[Project, Outcome]) -> None:
    names = set(together[0].times())
    for folder in (SPEAKERS[0], ODD_FOLDER, THREE[2]):
        for file in ("adapter.safetensors", "adapter.json", "adaptation.jsonl", "hypotheses.jsonl"):
            assert f"speakers/{folder}/saml/seed1/{file}" in names
        assert f"pretrained/saml/seed1/routes/{folder}/routes.csv" in names
        assert f"speakers/{folder}/nf4/seed0/hypotheses.jsonl" in names


def test_command_lines_are_those_of_the_program(
    together: tuple[Project, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each speaker the program has the files that the rule names; nothing is run."""
    found: list[dict[str, Any]] = []
    for stage in ("adapt.adapt", "decode.decode", "routes.routes"):
        monkeypatch.setattr(f"saml.stages.{stage}", lambda **given: found.append(given))
    for call in together[0].calls():
        if call[0] in ("adapt", "decode", "routes"):
            assert cli.main(call) == 0
    adapted = {
        one.speaker: one.out_adapter.as_posix() for given in found for one in given.get("speakers", ())
    }
    assert adapted == {
        speaker: f"results/test/speakers/{folder}/saml/seed1/adapter.safetensors"
        for speaker, folder in zip(THREE, (SPEAKERS[0], ODD_FOLDER, THREE[2]), strict=True)
    }
    routed = {given["speaker"]: given["routes"].as_posix() for given in found if "routes" in given}
    assert routed == {
        speaker: f"results/test/pretrained/saml/seed1/routes/{folder}/routes.csv"
        for speaker, folder in zip(THREE, (SPEAKERS[0], ODD_FOLDER, THREE[2]), strict=True)
    }


def test_a_second_run_finds_nothing_and_another_number_runs_them_again(
    together: tuple[Project, Outcome], tmp_path: Any
) -> None:
    project = together[0].copy(tmp_path)
    assert project.dry_run("all").jobs == {}
    project.configure(**{**HOW, "speakers_together": 1})
    jobs = project.dry_run("all").jobs
    assert (jobs["adapt"], jobs["decode"], jobs["routes"]) == (3, 6, 3) and "prepare_speaker" not in jobs


def test_other_adaptations_are_still_one_by_one(together: tuple[Project, Outcome]) -> None:
    """Of the enrolment curve and of tuning speakers."""
    enrolment = together[0].dry_run("enrolment")
    assert enrolment.status == 0, enrolment.text
    assert enrolment.jobs["adapt_enrolment"] == 3 * 3 * 4
    assert together[0].dry_run("tune").jobs["tune_adaptation"] == 3 * 4
