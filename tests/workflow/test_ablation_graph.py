"""The graph of the ablation: what it runs, what it takes from the experiment, what it leaves alone."""

from typing import Any

from tests.workflow.workflow_project import ODD_FOLDER, SPEAKERS, Project, option, options, settings_of

# Two further arms on the first speaker alone; saml has six experts.
FEW: dict[str, Any] = {
    "speakers": 1,
    "reference": "pqm",
    "questions": {"experts": ["nf4", "pqm", "saml", "saml-e2"], "frozen": ["saml", "saml-frozen-experts"]},
    "pruning": ["saml"],
    "embeddings": ["nf4", "pqm", "saml"],
}
NEW = {
    "initialise_experts": 2,
    "pretrain": 2,
    "adapt": 2,
    "decode": 2,
    "ablation_table": 1,
    "prune": 6,
    "decode_pruned": 6,
    "pruning": 1,
    "encode": 3,
    "embeddings": 1,
    "ablation": 1,
}


def test_the_ablation_runs_what_the_experiment_has_not(finished: Project) -> None:
    """For one speaker: two arms, five smaller mixtures and one LoRA, the encoders of three arms."""
    finished.configure(ablation=FEW)
    assert finished.dry_run("all").jobs == {}, "no part of `all`, and no setting of its jobs"
    outcome = finished.snakemake("--cores", "2", "ablation")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs == NEW
    calls = finished.calls()
    first = SPEAKERS[0]
    assert {option(call, "speakers") for call in calls if call[0] in ("adapt", "decode", "encode")} == {first}
    frozen = next(c for c in calls if c[0] == "adapt" and option(c, "arm") == "saml-frozen-experts")
    assert settings_of(frozen)["arm"]["adaptation"] == {"frozen": "expert"}
    prunings = [call for call in calls if call[0] == "prune"]
    kept = {option(call, "keep") or "collapsed": str(option(call, "out-adapter")) for call in prunings}
    assert sorted(kept) == ["1", "2", "3", "4", "5", "collapsed"]
    for name, path in kept.items():
        assert path == f"results/test/pruned/{name}/speakers/{first}/saml/seed1/adapter.safetensors"
    for call in prunings:
        assert ("--collapse" in call) == (option(call, "keep") is None)
        assert option(call, "adapter") == f"results/test/speakers/{first}/saml/seed1/adapter.safetensors"
    smaller = [c for c in calls if c[0] == "decode" and "/pruned/" in str(option(c, "adapter"))]
    assert len(smaller) == 6
    for call in smaller:
        assert option(call, "heldout-cuts") is None
        assert str(option(call, "adaptation-record")).endswith("/pruning.jsonl")
    encoded = {option(call, "arm"): call for call in calls if call[0] == "encode"}
    assert option(encoded["nf4"], "adapter") is None and option(encoded["nf4"], "seed") == "0"
    assert option(encoded["saml"], "pretrained") == "results/test/pretrained/saml/seed1/adapter.safetensors"
    table = next(call for call in calls if call[0] == "ablation")
    assert options(table, "speakers") == [first]
    assert finished.dry_run("all", "ablation").jobs == {}
    names = set(finished.times())
    assert {"tables/ablation.csv", "figures/pruning.svg", "figures/embeddings.png"} <= names
    assert not any(name.startswith(f"speakers/{ODD_FOLDER}/saml-e2/") for name in names)


def test_its_command_lines_are_those_of_the_program(finished: Project) -> None:
    from saml.cli.main import command_line

    finished.configure(ablation={**FEW, "reference": None, "speakers": 2})
    outcome = finished.snakemake("--cores", "2", "ablation")
    assert outcome.status == 0, outcome.text
    for call in finished.calls():
        command_line().parse_args(call)
    table = next(call for call in finished.calls() if call[0] == "ablation")
    assert option(table, "reference") is None


def test_what_is_not_asked_for_is_not_made(fresh: Project) -> None:
    fresh.configure(ablation={**FEW, "questions": {"rank": ["pqm"]}, "pruning": [], "embeddings": []})
    assert set(fresh.dry_run("ablation").jobs) == {
        *("prepare_corpus", "prepare_pool", "prepare_speaker", "train_base", "quantise"),
        *("pretrain", "adapt", "decode", "ablation_table", "ablation"),
    }


def test_experts_without_initial_speakers_are_named(fresh: Project) -> None:
    """The experiment has a speaker for each expert of its own arms; the ablation wants other numbers."""
    fresh.configure(ablation=FEW, initial_speakers=[f"v{number}" for number in range(6)])
    assert fresh.dry_run("all").status == 0
    outcome = fresh.dry_run("ablation")
    assert outcome.status != 0
    assert (
        "initial_speakers: 6 speakers for the 2 experts of arms.saml-e2, which `ablation` asks"
        in outcome.text
    )


def test_tables_and_figures_are_targets(fresh: Project) -> None:
    """Together they are what `all` makes of the experiment's results, without transcripts and front page."""
    jobs = {name: set(fresh.dry_run(name).jobs) - {name} for name in ("tables", "figures", "all")}
    assert "draw_figures" not in jobs["tables"] and {"tabulate", "routing"} <= jobs["tables"]
    assert jobs["figures"] == jobs["tables"] | {"draw_figures"} == jobs["all"] - {"transcripts", "index"}


def test_tables_can_be_had_without_figures(finished: Project) -> None:
    (finished.folder / "results" / "test" / "figures" / "sizes.svg").unlink()
    assert finished.dry_run("tables").jobs == {}
    assert finished.dry_run("figures").jobs == {"draw_figures": 1, "figures": 1}
