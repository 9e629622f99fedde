"""How often Snakemake chooses the next jobs."""

import re

import yaml

from tests.workflow.workflow_project import ROOT, Project


def test_the_profiles_limit_is_one_that_snakemake_takes(fresh: Project) -> None:
    """It chooses again after the limit's timespan, so the profile's is longer than the default second."""
    profile = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    limit = profile["max-jobs-per-timespan"]
    jobs, seconds = map(int, re.fullmatch(r"(\d+)/(\d+)s", limit).groups())
    assert seconds > 1 and jobs / seconds >= 100, "as many starts a second as by default"
    target = "results/test/data/corpus/recordings.jsonl.gz"
    outcome = fresh.snakemake("--cores", "2", target, "--max-jobs-per-timespan", limit)
    assert outcome.status == 0, outcome.text
