"""Saved views of an MLflow experiment, so that a person finds the comparison without building it first.

MLflow's interface keeps a saved view in a tag of the experiment: a name, and the state of the table. The form
is the interface's own (3.17); another version that does not know it shows its plain table.
"""

import json
from typing import Any

_PREFIX = "mlflow.sharedViewState."

_COLUMNS = [
    "metrics.`wer/whisper`",
    "metrics.`wer/released`",
    "metrics.`wer/whisper/heldout`",
    "metrics.`bytes/adapter`",
    "params.`arm`",
    "params.`speaker`",
    "params.`seed`",
]
_ENROLMENT = [
    "metrics.`wer/whisper`",
    "metrics.`wer/released`",
    "tags.`enrolment`",
    "params.`arm`",
    "params.`seed`",
]
# Of the arms of the default configuration; the run of the tables has a metric for each arm that was run.
_RESULTS = [f"metrics.`{arm}/wer/released`" for arm in ("fp32", "nf4", "nf4-lora", "pqm", "saml")]
_TUNING = [
    "metrics.`loss`",
    "metrics.`final/dev/loss`",
    "metrics.`diverged`",
    "tags.`trial`",
    "params.`arm`",
    "params.`speaker`",
]
_BY_ARM = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]}
_BY_SIZE = {
    **_BY_ARM,
    "groupByKeys": [{"mode": "tag", "groupByData": "arm"}, {"mode": "tag", "groupByData": "enrolment"}],
}


def experiment_tags() -> dict[str, str]:
    """Tags of an experiment: that models are trained in it, what its runs are, and the saved views."""
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": (
            "One parent run per pipeline run, with its config; below it one run per stage, arm, speaker and "
            "seed. Under Training runs, the menu Views has the comparisons. The table begins with 100: "
            "press Load more until all are there, before a mean over speakers is read. These means are "
            "unweighted; the pooled WER of each arm is in the view Tables and figures."
        ),
        **_view("saml-wer", "WER by arm and speaker", 'tags.stage = "decode"'),
        **_view("saml-arms", "Mean over speakers, by arm", 'tags.stage = "decode"', groupBy=_BY_ARM),
        **_view(
            "saml-results",
            "Tables and figures",
            'attributes.run_name LIKE "RESULTS%"',
            selectedColumns=_RESULTS,
        ),
        **_view(
            "saml-enrolment",
            "Mean over speakers, by arm and number of training utterances",
            'tags.stage = "enrolment" AND metrics.`wer/whisper` >= 0',
            selectedColumns=_ENROLMENT,
            groupBy=_BY_SIZE,
        ),
        **_view("saml-training", "Training of the shared models", 'tags.stage LIKE "%train%"'),
        **_view("saml-tuning", "Learning rates on trial", 'tags.stage = "tuning"', selectedColumns=_TUNING),
    }


def _view(identity: str, name: str, condition: str, **more: Any) -> dict[str, str]:
    """The tag of one view: the runs that meet `condition`, by name, all of them in charts too."""
    state = {
        "searchFilter": condition,
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": _COLUMNS,
        "runsHiddenMode": "SHOW_ALL",
        **more,
    }
    view = {"name": name, "createdAt": 1, "updatedAt": 1, "state": json.dumps(state)}
    return {f"{_PREFIX}{identity}": json.dumps(view)}
