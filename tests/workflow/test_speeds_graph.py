"""Speeds of base training are a setting of the pool `base` alone."""

from typing import Any

from tests.workflow.workflow_project import Project, option, settings_of

POOLS = [f"results/test/data/pools/{role}/cuts.jsonl.gz" for role in ("base", "heldout")]


def pools(project: Project) -> list[tuple[str | None, dict[str, Any]]]:
    """The pools that were made so far, each with its settings."""
    return [(option(c, "role"), settings_of(c)) for c in project.calls() if c[0] == "prepare-pool"]


def test_speeds_make_the_pool_base_again_and_no_other(fresh: Project) -> None:
    assert fresh.snakemake("--cores", "1", *POOLS).jobs == {"prepare_corpus": 1, "prepare_pool": 2}
    assert sorted((role, *settings) for role, settings in pools(fresh)) == [
        ("base", "base_training", "corpus", "model"),
        ("heldout", "corpus", "model"),
    ]
    fresh.configure(base_training__speed_perturbation=[0.9, 1.0, 1.1])
    outcome = fresh.snakemake("--cores", "1", *POOLS)
    assert outcome.jobs == {"prepare_pool": 1}, outcome.text
    role, settings = pools(fresh)[-1]
    assert role == "base" and settings["base_training"] == {"speed_perturbation": [0.9, 1.0, 1.1]}
