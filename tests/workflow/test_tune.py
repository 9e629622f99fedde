"""The target `tune`: which trials there are, what each is given; it and `all` leave each other alone."""

import copy
from typing import Any

import pytest

from tests.workflow.workflow_project import Outcome, Project, option, settings_of

SPEAKERS = ["af_f1_r160_p50", "pt_m5_r165_p40", "ro_m6_r155_p45"]
RATES = [0.0003, 0.001, 0.003, 0.01]
NOTHING = "Nothing to be done"


@pytest.fixture(scope="module")
def tuning(
    first_run: tuple[Project, Outcome], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, Outcome]:
    """A project in which everything has run and was tuned afterwards; what the latter printed."""
    project = first_run[0].copy(tmp_path_factory.mktemp("tuned"))
    return project, project.snakemake("--cores", "2", "tune")


@pytest.fixture
def tuned(tuning: tuple[Project, Outcome], tmp_path: Any) -> Project:
    """A copy of it to change."""
    return tuning[0].copy(tmp_path)


def calls_of(project: Project, stage: str) -> list[list[str]]:
    return [call for call in project.calls() if call[0] == stage]


def test_every_rate_is_tried_once_for_each_arm_and_tuning_speaker(tuning: tuple[Project, Outcome]) -> None:
    """Four rates; two arms are pre-trained, one of them from experts; three are adapted to three speakers."""
    project, outcome = tuning
    assert outcome.status == 0, outcome.text
    assert outcome.jobs == {
        "prepare_speaker": 3,
        "tune_experts": 4,
        "tune_pretraining": 2 * 4,
        "judge_rate": (2 + 3) * 4,
        "choose_start": 2,
        "tune_adaptation": 3 * 4 * 3,
        "choose_rates": 1,
        "tune": 1,
    }
    tried = {
        (option(c, "arm"), option(c, "speakers"), rate_of(c, "adaptation"))
        for c in calls_of(project, "adapt")
    }
    assert tried == {(a, s, r) for a in ("nf4-lora", "pqm", "saml") for s in SPEAKERS for r in RATES}
    tried = {(option(c, "arm"), None, rate_of(c, "pretraining")) for c in calls_of(project, "pretrain")}
    assert tried == {(arm, None, rate) for arm in ("pqm", "saml") for rate in RATES}


def rate_of(call: list[str], section: str) -> float:
    """The rate that the stage will go by: that of the section, as the arm's entry says nothing of it."""
    settings = settings_of(call)
    assert "learning_rate" not in settings["arm"].get(section, {})
    rates = settings[section]["learning_rate"]
    more = {"initialisation"} if section == "pretraining" else set()
    assert set(rates) == {"expert", "router", *more} and len(set(rates.values())) == 1
    return float(rates["expert"])


def test_what_a_trial_is_given(tuning: tuple[Project, Outcome]) -> None:
    project, _ = tuning
    root = "results/test/tuning/saml"
    for call in calls_of(project, "pretrain"):
        start = f"{root}/pretraining/lr{rate_of(call, 'pretraining')}/seed1/experts/adapter.safetensors"
        assert option(call, "experts") == (start if option(call, "arm") == "saml" else None)
    for call in calls_of(project, "adapt"):
        arm, rate, speaker = option(call, "arm"), rate_of(call, "adaptation"), option(call, "speakers")
        start = f"results/test/tuning/{arm}/pretrained/seed1/adapter.safetensors"
        assert option(call, "adapter") == (None if arm == "nf4-lora" else start)
        folder = f"results/test/tuning/{arm}/adaptation/lr{rate}/{speaker}/seed1"
        assert option(call, "out-adapter") == f"{folder}/adapter.safetensors"
        assert option(call, "record") == f"{folder}/run.jsonl"
    trials = [c for s in ("initialise-experts", "pretrain", "adapt") for c in calls_of(project, s)]
    assert all("--trial" in call and option(call, "seed") == "1" for call in trials)
    assert not any("--trial" in call for call in calls_of(project, "choose-start"))
    judged = {
        (option(c, "arm"), str(option(c, "kind")), option(c, "rate")): settings_of(c)
        for c in calls_of(project, "judge-rate")
    }
    assert len(judged) == 20 and ("saml", "pretraining", "0.003") in judged
    assert all(how["tuning"] == {"speakers": SPEAKERS} for how in judged.values())
    assert all(how[kind] == {"ctc_weight": 0.3} for (_, kind, _), how in judged.items())
    chosen = settings_of(calls_of(project, "choose-rates")[0])
    both = ["pretraining", "adaptation"]
    assert chosen["arms"] == {"nf4-lora": ["adaptation"], "pqm": both, "saml": both}
    assert chosen["tuning"] == {"grid": RATES, "seed": 1, "speakers": SPEAKERS}


def test_a_trial_differs_from_the_experiments_own_job_by_its_rate_alone(
    first_run: tuple[Project, Outcome], tuning: tuple[Project, Outcome]
) -> None:
    def without_rates(call: list[str]) -> dict[str, Any]:
        settings = copy.deepcopy(settings_of(call))
        for section in {"pretraining", "adaptation"} & set(settings):
            del settings[section]["learning_rate"]
            settings["arm"].get(section, {}).pop("learning_rate", None)
            settings["arm"] = {key: value for key, value in settings["arm"].items() if value != {}}
        return settings

    for stage in ("initialise-experts", "pretrain", "adapt"):
        own = {option(call, "arm"): without_rates(call) for call in calls_of(first_run[0], stage)}
        for call in calls_of(tuning[0], stage):
            assert without_rates(call) == own[option(call, "arm")]


def test_it_ends_with_the_rates_and_shows_no_test_score(tuning: tuple[Project, Outcome]) -> None:
    from saml.cli.main import command_line

    project, _ = tuning
    assert [call[0] for call in project.calls()][-3:] == ["choose-rates", "track", "show-rates"]
    for call in project.calls():
        command_line().parse_args(call)


def test_tuning_and_the_experiment_leave_each_other_alone(tuned: Project) -> None:
    """What `tune` made makes nothing of `all` run.

    Another tuning speaker has a say in which pre-training is the best, and what starts from that runs again.
    """
    tuned.configure(tuning={"grid": RATES, "seed": 1, "speakers": [*SPEAKERS, "da_m1_r160_p45"]})
    assert NOTHING in tuned.dry_run("all").text
    jobs = {"prepare_speaker": 1, "judge_rate": (2 + 3) * 4, "choose_start": 2, "choose_rates": 1, "tune": 1}
    jobs["tune_adaptation"] = 4 * (1 + 2 * 4)
    assert tuned.dry_run("tune").jobs == jobs


def test_rates_that_were_frozen_make_no_trial_run_again(tuned: Project) -> None:
    """In an arm's entry or in the section itself."""
    rates = {"learning_rate": {"expert": 0.001, "router": 0.001}}
    tuned.configure(
        arms__saml__pretraining=rates,
        arms__saml__adaptation=rates,
        adaptation__learning_rate=rates["learning_rate"],
    )
    assert NOTHING in tuned.dry_run("tune").text


def test_each_trial_is_judged_by_the_loss_that_it_was_trained_with(tuned: Project) -> None:
    """An arm's own entry goes before the section, and one section's weight is not the other's."""
    tuned.configure(pretraining__ctc_weight=0.1, arms__saml__adaptation={"ctc_weight": 0.2})
    before = len(tuned.calls())
    assert tuned.snakemake("--cores", "2", "tune").status == 0
    calls = [call for call in tuned.calls()[before:] if call[0] == "judge-rate"]
    weights = {
        (option(c, "arm"), kind, settings_of(c)[kind]["ctc_weight"])
        for c in calls
        for kind in [str(option(c, "kind"))]
    }
    assert weights >= {("saml", "pretraining", 0.1), ("pqm", "pretraining", 0.1), ("saml", "adaptation", 0.2)}
    assert {weight for arm, kind, weight in weights if (arm, kind) == ("pqm", "adaptation")} <= {0.3}


def test_some_arms_only(finished: Project) -> None:
    more = finished.folder / "more.yaml"
    more.write_text("run_arms: [nf4, pqm-wide]\n")
    assert finished.dry_run("tune", "--configfile", "more.yaml").jobs == {
        "prepare_speaker": 3,
        "tune_pretraining": 4,
        "judge_rate": 8,
        "choose_start": 1,
        "tune_adaptation": 12,
        "choose_rates": 1,
        "tune": 1,
    }
    more.write_text("run_arms: [nf4]\n")
    outcome = finished.dry_run("tune", "--configfile", "more.yaml")
    assert outcome.status != 0
    assert "run_arms: none of them is adapted, so there is no learning rate to choose" in outcome.text
    assert "Traceback" not in outcome.text
