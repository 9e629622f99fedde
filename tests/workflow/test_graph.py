"""Which jobs run when: everything once, one speaker alone, and nothing that a change does not concern."""

import re

import pytest
import yaml

from tests.workflow.workflow_project import (
    ODD_FOLDER,
    SPEAKERS,
    Outcome,
    Project,
    option,
    options,
    settings_of,
)

NOTHING = "Nothing to be done"
PLAIN = {"precision": "fp32", "adapted": True, "experts": 1, "pretrained": False, "routed": False}
# What follows whenever a hypothesis changes.
REPORTED = {"tabulate": 1, "draw_figures": 1, "transcripts": 1, "index": 1}


def test_everything_runs_once(first_run: tuple[Project, Outcome]) -> None:
    project, outcome = first_run
    assert outcome.status == 0, outcome.text
    assert outcome.jobs == {
        "prepare_corpus": 1,
        "prepare_pool": 3,
        "prepare_speaker": 2,
        "train_base": 1,
        "quantise": 1,
        "initialise_experts": 1,
        "pretrain": 2,
        "adapt": 6,
        "decode": 10,
        "decode_heldout": 2,
        "routes": 2,
        "routing": 1,
        "tabulate": 1,
        "draw_figures": 1,
        "transcripts": 1,
        "index": 1,
    }
    assert [call[0] for call in project.calls()][-2:] == ["track", "show"]
    saved = yaml.safe_load((project.folder / "results" / "test" / "config.yaml").read_text())
    assert saved == yaml.safe_load((project.folder / "config" / "config.yaml").read_text())


@pytest.mark.parametrize("target", ["all", "tune", "enrolment", "ablation"])
def test_every_job_says_what_it_is(fresh: Project, target: str) -> None:
    """One that has no message would print the names of all its files instead."""
    outcome = fresh.dry_run(target)
    assert outcome.status == 0 and len(outcome.messages) > 10
    assert not re.search(r"^ +(input|output): ", outcome.text, re.MULTILINE), outcome.text


def test_results_lie_where_a_person_looks_for_them(first_run: tuple[Project, Outcome]) -> None:
    names = set(first_run[0].times())
    for folder in (SPEAKERS[0], ODD_FOLDER):
        for arm, seed in (("fp32", 0), ("nf4", 0), ("nf4-lora", 1), ("pqm", 1), ("saml", 1)):
            assert f"speakers/{folder}/{arm}/seed{seed}/hypotheses.jsonl" in names
            assert f"speakers/{folder}/{arm}/seed{seed}/run.jsonl" in names
        assert f"speakers/{folder}/saml/seed1/adapter.safetensors" in names
    assert {"heldout/fp32/seed0/hypotheses.jsonl", "heldout/nf4/seed0/hypotheses.jsonl"} <= names
    assert {"pretrained/saml/seed1/experts/adapter.json", "pretrained/pqm/seed1/adapter.json"} <= names
    assert {"tables/wer.csv", "tables/summary.csv", "tables/comparisons.csv", "figures/sizes.svg"} <= names


def test_command_lines(first_run: tuple[Project, Outcome]) -> None:
    """Odd ids arrive whole and unread by a shell; each arm gets its inputs and each stage its settings."""
    project, _ = first_run
    assert not (project.folder / "hurt").exists()
    stages = [call for call in project.calls() if call[0] not in ("track", "show")]
    for call in stages:
        assert option(call, "experiment") == "test"
        assert option(call, "corpus") == "spoken_commands" and option(call, "family") == "conformer"
        assert option(call, "record") is not None
        assert option(call, "threads") == ("2" if call[0] == "train-base" else "1")
    adaptations = {(option(c, "arm"), option(c, "speakers")): c for c in stages if c[0] == "adapt"}
    assert set(adaptations) == {(arm, s) for arm in ("nf4-lora", "pqm", "saml") for s in SPEAKERS}
    assert option(adaptations["nf4-lora", SPEAKERS[1]], "adapter") is None
    saml = adaptations["saml", SPEAKERS[1]]
    assert option(saml, "adapter") == "results/test/pretrained/saml/seed1/adapter.safetensors"
    assert option(saml, "weights") == "results/test/models/nf4/model.safetensors"
    assert option(saml, "work") == f"results/test/.work/adapt/{ODD_FOLDER}/saml/seed1"
    assert set(settings_of(saml)) == {"arm", "adapters", "adaptation", "partition"}
    assert settings_of(saml)["partition"] == {"enrolment": 24}
    assert settings_of(saml)["arm"]["experts"] == 6
    pretraining = {option(call, "arm"): call for call in stages if call[0] == "pretrain"}
    assert option(pretraining["pqm"], "experts") is None
    assert (
        option(pretraining["saml"], "experts")
        == "results/test/pretrained/saml/seed1/experts/adapter.safetensors"
    )
    decodings = {(option(c, "arm"), option(c, "speakers")): c for c in stages if c[0] == "decode"}
    assert option(decodings["fp32", SPEAKERS[0]], "weights") == "results/test/models/base/model.safetensors"
    assert option(decodings["fp32", SPEAKERS[0]], "heldout-cuts") is None
    assert option(decodings["fp32", None], "heldout-cuts") is not None
    tables = next(call for call in stages if call[0] == "tabulate")
    assert options(tables, "speakers") == SPEAKERS
    assert "folder" not in settings_of(next(c for c in stages if c[0] == "prepare-corpus"))["corpus"]


def test_command_lines_are_those_of_the_program(first_run: tuple[Project, Outcome]) -> None:
    """The program takes every command line that the stand-in got, and draws the figures that rules expect."""
    from saml.cli.main import command_line
    from saml.reporting.figures import FIGURES

    project, _ = first_run
    for call in project.calls():
        command_line().parse_args(call)
    drawn = {path.stem for path in (project.folder / "results/test/figures").glob("*.svg")}
    assert drawn == {*FIGURES, "routing"}


def test_a_second_run_finds_nothing_to_do(finished: Project) -> None:
    """Neither for thread counts, nor for what belongs to another corpus, nor for the order of keys."""
    finished.configure(
        threads={"train_base": 1, "default": 2},
        corpus__folder__dev_share=0.2,
        arms__other=PLAIN,
        adapters=dict(reversed(_section(finished, "adapters").items())),
    )
    outcome = finished.snakemake("--cores", "1", "all")
    assert outcome.status == 0 and NOTHING in outcome.text, outcome.text
    assert finished.calls() == []


def test_more_threads_than_cores_are_named(finished: Project) -> None:
    finished.configure(threads={"train_base": 2, "default": 1})
    said = "config: threads.train_base is 2, --cores gives 1"
    assert said in finished.snakemake("--cores", "1", "all").text
    assert said not in finished.snakemake("--cores", "2", "all").text
    assert said not in finished.dry_run("all").text


def test_asking_for_one_speaker_runs_that_speaker_only(fresh: Project) -> None:
    outcome = fresh.dry_run(f"results/test/speakers/{SPEAKERS[0]}/saml/seed1/hypotheses.jsonl")
    assert outcome.jobs == {
        "prepare_corpus": 1,
        "prepare_pool": 3,
        "prepare_speaker": 1,
        "train_base": 1,
        "quantise": 1,
        "initialise_experts": 1,
        "pretrain": 1,
        "adapt": 1,
        "decode": 1,
    }
    assert f"Adapting saml to {SPEAKERS[0]}, seed 1" in outcome.messages


def test_forcing_one_speaker_leaves_the_others_untouched(finished: Project) -> None:
    before = finished.times()
    speaker = finished.folder / "results" / "test" / "speakers" / SPEAKERS[0]
    adapters = [
        str(p.relative_to(finished.folder)) for p in sorted(speaker.glob("*/seed*/adapter.safetensors"))
    ]
    outcome = finished.snakemake("--cores", "2", "all", "--forcerun", *adapters)
    assert outcome.status == 0, outcome.text
    assert outcome.jobs == {"adapt": 3, "decode": 3, **REPORTED}
    after = finished.times()
    changed = {name for name in before if after[name] != before[name]}
    ours = {name for name in before if name.startswith(f"speakers/{SPEAKERS[0]}/") and "seed1" in name}
    assert ours <= changed
    assert {name.split("/")[0] for name in changed - ours} == {
        *("tables", "pages", "figures", "transcripts", "index.html", "config.yaml")
    }
    assert finished.dry_run("all").jobs == {}


def test_an_adaptation_setting_reruns_adaptations_and_what_follows(finished: Project) -> None:
    """Also where it stands in the entry of one arm."""
    finished.configure(adaptation__epochs=3)
    assert finished.dry_run("all").jobs == {"adapt": 6, "decode": 6, **REPORTED}
    finished.configure(arms__saml__adaptation={"epochs": 3})
    assert finished.dry_run("all").jobs == {"adapt": 2, "decode": 2, **REPORTED}


def test_another_speaker_runs_that_speaker_and_the_aggregation_only(finished: Project) -> None:
    finished.configure(target_speakers=[*SPEAKERS, "fr_m3_r165_p40"])
    outcome = finished.dry_run("all")
    assert outcome.jobs == {
        "prepare_speaker": 1,
        "adapt": 3,
        "decode": 5,
        "routes": 1,
        "routing": 1,
        "tabulate": 1,
        "draw_figures": 1,
        "transcripts": 1,
        "index": 1,
    }
    assert all(s not in message for s in (SPEAKERS[0], ODD_FOLDER) for message in outcome.messages)


def test_splits_that_somebody_replaces_stay_and_are_used(finished: Project) -> None:
    """The speaker is adapted to and tested anew; nobody else, and the file is not made again."""
    splits = finished.folder / "results/test/data/speakers" / SPEAKERS[0] / "splits.json"
    splits.write_text('{"folds": []}', encoding="utf-8")
    outcome = finished.dry_run("all")
    assert outcome.jobs == {"adapt": 3, "decode": 5, **REPORTED}
    assert all(ODD_FOLDER not in message and SPEAKERS[1] not in message for message in outcome.messages)
    assert finished.snakemake("--cores", "2", "all").status == 0
    assert splits.read_text(encoding="utf-8") == '{"folds": []}'


def test_another_arm_and_another_seed_run_what_they_need(finished: Project) -> None:
    finished.configure(
        arms__small={**PLAIN, "rank": 2},
        run_arms=["nf4", "saml", "small"],
        seeds=[1, 2],
    )
    outcome = finished.dry_run("all")
    # `small` takes no part in pre-training; it adapts the full-precision model with both seeds.
    assert outcome.jobs == {
        "initialise_experts": 1,
        "pretrain": 1,
        "adapt": 6,
        "decode": 6,
        "routes": 2,
        "routing": 1,
        "tabulate": 1,
        "draw_figures": 1,
        "transcripts": 1,
        "index": 1,
    }


def test_scorers_need_counts_and_statistics_do_not(finished: Project) -> None:
    finished.configure(scoring__scorers=["released"])
    rules = set(finished.dry_run("all").jobs)
    assert rules == {"decode", "decode_heldout", *REPORTED}
    finished.configure(scoring__draws=100)
    assert set(finished.dry_run("all").jobs) == {"tabulate", "draw_figures", "index"}
    finished.configure(scoring__error_stats="icefall")
    assert set(finished.dry_run("all").jobs) == set(REPORTED)


def test_without_a_routed_arm_there_are_no_routes(finished: Project) -> None:
    finished.configure(run_arms=["fp32", "nf4", "nf4-lora", "pqm"])
    outcome = finished.dry_run("all")
    assert outcome.status == 0 and outcome.jobs == REPORTED


def test_a_failure_stops_only_what_depends_on_it(finished: Project) -> None:
    """Its log is shown, the rest goes on, the records are still published, and a plain restart finishes."""
    finished.configure(adaptation__epochs=3)
    outcome = finished.snakemake("--cores", "2", "all", FAIL=f"pqm --seed 1 --speakers {SPEAKERS[0]}")
    assert outcome.status != 0
    assert "saml: no luck today" in outcome.text
    calls = [call[0] for call in finished.calls()]
    assert calls.count("adapt") == 6 and calls.count("decode") == 5
    assert calls[-1] == "track" and "tabulate" not in calls
    again = finished.snakemake("--cores", "2", "all")
    assert again.status == 0, again.text
    assert again.jobs == {"adapt": 1, "decode": 1, **REPORTED}


def test_tracking_never_fails_a_run(finished: Project) -> None:
    (finished.folder / "results/test/figures/sizes.svg").unlink()
    outcome = finished.snakemake("--cores", "1", "all", FAIL="track")
    assert outcome.status == 0, outcome.text
    assert [call[0] for call in finished.calls()] == ["figures", "index", "track", "show"]


def _section(project: Project, name: str) -> dict[str, object]:
    config = yaml.safe_load((project.folder / "config" / "config.yaml").read_text())
    return dict(config[name])


def test_an_arm_may_start_from_another_arms_pretraining(fresh: Project) -> None:
    """One pre-training for both; all three ways to adapt take its files."""
    fresh.configure(run_arms=["pqm", "pqm-others", "saml-collapsed"])
    for together in (1, 2):
        outcome = fresh.dry_run("all", "--config", f"speakers_together={together}")
        assert outcome.jobs["pretrain"] == 2 and outcome.jobs["initialise_experts"] == 1
        assert not any(
            rule.startswith("routes") for rule in outcome.jobs
        )  # saml-collapsed has a router before adaptation only
    outcome = fresh.dry_run("all", "--printshellcmds")
    (call,) = [
        line
        for line in outcome.text.splitlines()
        if "adapt " in line and SPEAKERS[0] in line and "--arm pqm-others" in line
    ]
    assert "--adapter results/test/pretrained/pqm/seed1/adapter.safetensors" in call
