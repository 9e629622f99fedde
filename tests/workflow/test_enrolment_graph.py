"""The graph of the enrolment curve: what it runs, what it takes from the experiment, what it leaves alone."""

from tests.workflow.workflow_project import ODD_FOLDER, SPEAKERS, Project, option, options, settings_of


def test_the_curve_runs_what_the_experiment_has_not(finished: Project) -> None:
    """Three arms and two speakers: two numbers have adaptations of their own, 24 is the experiment's."""
    finished.configure(enrolment__sizes=[3, 24, 48])
    assert finished.dry_run("all").jobs == {}, "no part of `all`, and no setting of its jobs"
    outcome = finished.snakemake("--cores", "2", "enrolment")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs == {
        "adapt_enrolment": 12,
        "decode_enrolment": 12,
        "enrolment_curve": 1,
        "enrolment": 1,
    }
    calls = finished.calls()
    adaptations = [call for call in calls if call[0] == "adapt"]
    for call in adaptations:
        size = settings_of(call)["partition"]["enrolment"]
        assert f"/enrolment/{size}/speakers/" in str(option(call, "out-adapter"))
        assert f"/adapt_enrolment/{size}/" in str(option(call, "work"))
    assert sorted({settings_of(call)["partition"]["enrolment"] for call in adaptations}) == [3, 48]
    saml = next(call for call in adaptations if option(call, "arm") == "saml")
    assert option(saml, "adapter") == "results/test/pretrained/saml/seed1/adapter.safetensors"
    for call in calls:
        if call[0] == "decode":
            assert option(call, "heldout-cuts") is None and option(call, "adapter") is not None
    curve = next(call for call in calls if call[0] == "enrolment")
    assert options(curve, "sizes") == ["3", "48"]
    assert (option(curve, "own-size"), option(curve, "reference")) == ("24", "pqm")
    assert finished.dry_run("all", "enrolment").jobs == {}
    names = set(finished.times())
    assert f"enrolment/48/speakers/{ODD_FOLDER}/pqm/seed1/hypotheses.jsonl" in names
    assert {"tables/enrolment.csv", "figures/enrolment.svg", "figures/enrolment.png"} <= names


def test_its_command_lines_are_those_of_the_program(fresh: Project) -> None:
    from saml.cli.main import command_line

    fresh.configure(enrolment={"sizes": [3], "arms": ["saml"], "reference": None}, partition__enrolment=None)
    outcome = fresh.snakemake("--cores", "2", "enrolment")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs["adapt"] == outcome.jobs["adapt_enrolment"] == len(SPEAKERS)
    for call in fresh.calls():
        command_line().parse_args(call)
    curve = next(call for call in fresh.calls() if call[0] == "enrolment")
    assert option(curve, "own-size") is None and option(curve, "reference") is None


def test_the_experiments_own_number_is_a_setting_of_its_adaptations_alone(finished: Project) -> None:
    """Splits hold all training utterances, so no data is made again."""
    finished.configure(partition__enrolment=12)
    assert finished.dry_run("all").jobs == {
        "adapt": 6,
        "decode": 6,
        "tabulate": 1,
        "draw_figures": 1,
        "transcripts": 1,
        "index": 1,
    }
