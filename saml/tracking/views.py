"""Saved views of an MLflow experiment: the comparisons of interest, ready in its interface.

MLflow's interface keeps a saved view in a tag of the experiment: a name, and the state of the table. There is
no public function for this: tag and state are those of MLflow 3.17's interface (mlflow/server/js/src/
experiment-tracking), and a version with another format shows its plain table.
"""

import json
from typing import Any

_PREFIX = "mlflow.sharedViewState."
# The view that links open.
_FIRST = "saml-wer"
# The arms of a speaker are neighbours: among the first 100 runs, all arms have the same speakers.
_BY_SPEAKER = "tags.`speaker`"

_COLUMNS = [
    "metrics.`wer/whisper`",
    "metrics.`wer/released`",
    "metrics.`wer/whisper/heldout`",
    "metrics.`bytes/adapter`",
    "params.`arm`",
    "params.`learning_rate`",
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
# For the arms of the default configuration; the run of the tables has a metric for each arm.
_RESULTS = [f"metrics.`{arm}/wer/released`" for arm in ("fp32", "nf4", "nf4-lora", "pqm", "saml")]
_TRAINING = [
    "metrics.`final/dev/loss`",
    "metrics.`dev/loss`",
    "params.`arm`",
    "params.`learning_rate`",
    "params.`seed`",
]
_TUNING = [
    "metrics.`loss`",
    "metrics.`final/dev/loss`",
    "metrics.`diverged`",
    "tags.`trial`",
    "params.`arm`",
    "params.`learning_rate`",
    "params.`speaker`",
]
_BY_ARM = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]}
_BY_SIZE = {
    **_BY_ARM,
    "groupByKeys": [{"mode": "tag", "groupByData": "arm"}, {"mode": "tag", "groupByData": "enrolment"}],
}


def page(experiment: str) -> str:
    """What follows a server's address in a link to the comparison of the runs of the experiment `experiment`.

    Without the workflow type, MLflow 3 may open its pages for language models instead.
    """
    return f"/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={_FIRST}"


def experiment_tags() -> dict[str, str]:
    """Tags of a new experiment: its kind, a description of its runs, and the saved views."""
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": (
            "The menu beside the title has the saved comparisons; Tables and figures has the pooled WER of "
            "each arm. The table shows 100 runs at first: press Load more before you read a mean over "
            "speakers (unweighted). One parent run per pipeline run, with its config; below it one run per "
            "stage, arm, speaker and seed. `learning_rate` is the rate that a run trained with."
        ),
        **views(),
    }


def views() -> dict[str, str]:
    """The tags that hold the saved views."""
    return {
        **_view(_FIRST, "WER by arm and speaker", 'tags.stage = "decode"', orderByKey=_BY_SPEAKER),
        **_view(
            "saml-arms",
            "Mean over speakers, by arm",
            'tags.stage = "decode"',
            groupBy=_BY_ARM,
            orderByKey=_BY_SPEAKER,
        ),
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
        **_view(
            "saml-training",
            "Training of the shared models",
            'tags.stage LIKE "%train%"',
            selectedColumns=_TRAINING,
        ),
        **_view("saml-tuning", "Learning-rate sweep", 'tags.stage = "tuning"', selectedColumns=_TUNING),
    }


def _view(identity: str, name: str, condition: str, **more: Any) -> dict[str, str]:
    """The tag of one view: the runs that meet `condition`, sorted by name, all shown in charts too."""
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
