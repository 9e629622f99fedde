"""The numbers of jobs that `saml doctor` prints are those that Snakemake plans."""

from typing import Any

import pytest
import yaml

from saml.doctor.diagnosis import count_jobs
from tests.workflow.workflow_project import Project

# Rules that `saml doctor` counts as one stage.
STAGES = {"decode_unadapted": "decode", "decode_heldout": "decode", "draw_figures": "figures"}
STAGES |= {"label_pool": "label", "label_speaker": "label"}
GIVEN = {
    "model__family": "whisper",
    "model__whisper__checkpoint": "somewhere",
    **{f"{section}__ctc_weight": 0 for section in ("pretraining", "adaptation")},
}
CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "several seeds": {"seeds": [1, 2, 3]},
    "no adaptation": {"run_arms": ["fp32"]},
    "no mixture": {"run_arms": ["nf4", "pqm", "nf4-lora"], "seeds": [4, 5]},
    "another arm's pre-training": {"run_arms": ["nf4", "pqm-others", "saml-collapsed", "saml-joint"]},
    "routes from a table": {"run_arms": ["nf4", "saml-table"]},
    "a given base": GIVEN,
    "labels in the model's style": {
        **GIVEN,
        "model__whisper__characters": None,
        "model__whisper__text_style": "model",
    },
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_doctor_counts_the_jobs_of_the_workflow(fresh: Project, change: str) -> None:
    fresh.configure(**CHANGES[change])
    outcome = fresh.dry_run("all")
    assert outcome.status == 0, outcome.text
    planned: dict[str, int] = {}
    for rule, count in outcome.jobs.items():
        stage = STAGES.get(rule, rule.replace("_", "-"))
        planned[stage] = planned.get(stage, 0) + count
    config = yaml.safe_load((fresh.folder / "config" / "config.yaml").read_text(encoding="utf-8"))
    counted = {stage: count for stage, count in count_jobs(config).items() if count}
    assert counted == planned
