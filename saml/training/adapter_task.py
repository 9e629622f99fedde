"""The training of an arm's adapters, alike for pre-training on many speakers and adaptation to one."""

from collections.abc import Mapping, Sequence
from typing import Any

from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.training.common import device, in_order, shuffled
from saml.training.examples import Examples
from saml.training.loop import Task
from saml.training.updates import AlternatingUpdates


def adapter_task(
    adapted: AdaptedRecogniser,
    examples: Examples,
    *,
    name: str,
    train: Sequence[MonoCut],
    dev: Sequence[MonoCut],
    utterances: int,
    how: Mapping[str, Any],
    seed: int,
) -> Task:
    """Show `utterances` of `train` in shuffled passes and keep the best state on `dev`.

    The state before the first pass is a candidate too. `how` is the config's section `pretraining` or
    `adaptation`.
    """
    return Task(
        name=name,
        recogniser=adapted,
        examples=examples,
        batches=lambda index: [(batch, None) for batch in shuffled(train, how, seed, index)],
        utterances=utterances,
        dev=in_order(dev),
        updates=AlternatingUpdates(
            list(adapted.expert_parameters().values()),
            list(adapted.router_parameters().values()),
            learning_rate=how["learning_rate"],
            clip_norm=how["clip_norm"],
            decay=how.get("decay", 1.0),
            interleaved=how["interleaved"],
        ),
        get_state=adapted.state,
        set_state=adapted.load_state,
        train=adapted.train,
        eval=adapted.eval,
        select=how["select"],
        judge_start=True,
        ctc_weight=how["ctc_weight"],
        device=device(),
    )
