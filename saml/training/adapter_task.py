"""The training of an arm's adapters, alike for pre-training on many speakers and adaptation to one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lhotse import MonoCut
from torch import nn

from saml.adapters.adapted import AdaptedRecogniser
from saml.runtime.errors import SamlError
from saml.training.common import device, in_bfloat16, in_order, shuffled
from saml.training.data import Examples
from saml.training.engine import Task
from saml.training.optim import AlternatingUpdates, Updates

T = TypeVar("T")


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
    updates: Updates | None = None,
) -> Task:
    """Show `utterances` of `train` in shuffled epochs and keep the best state on `dev`.

    The state before the first epoch is a candidate too. `how` is the config's section `pretraining` or
    `adaptation`; what it calls `frozen`, "expert" (feed-forward LoRAs too) or "router", stays as it is.
    `updates` are others than those of one training by itself.

    Raises:
        SamlError: nothing is left to train.
    """
    return Task(
        name=name,
        recogniser=adapted,
        examples=examples,
        batches=lambda index: [(batch, None) for batch in shuffled(train, how, seed, index)],
        utterances=utterances,
        dev=in_order(dev),
        updates=updates or alternating_updates(adapted, how, name, AlternatingUpdates),
        get_state=adapted.state,
        set_state=adapted.load_state,
        train=adapted.train,
        eval=adapted.eval,
        select=how["select"],
        judge_start=True,
        ctc_weight=how["ctc_weight"],
        ctc_backend=how.get("ctc_backend", "torch"),
        bfloat16=in_bfloat16(how),
        device=device(),
    )


def alternating_updates(
    adapted: AdaptedRecogniser, how: Mapping[str, Any], name: str, kind: Callable[..., T]
) -> T:
    """The updates of class `kind` that `how` tells of, for what is trained in `adapted`.

    Raises SamlError, naming the training `name`, when nothing is left to train.
    """
    trained = _trained(adapted, how.get("frozen"), name)
    return kind(
        trained["expert"],
        trained["router"],
        learning_rate=how["learning_rate"],
        clip_norm=how["clip_norm"],
        decay=how.get("decay", 1.0),
        interleaved=how["interleaved"],
    )


def _trained(adapted: AdaptedRecogniser, frozen: str | None, name: str) -> dict[str, list[nn.Parameter]]:
    """What moves, by the name of its learning rate; what does not is told that it needs no gradient."""
    groups = {
        "expert": list(adapted.expert_parameters().values()),
        "router": list(adapted.router_parameters().values()),
    }
    if frozen is not None:
        for parameter in groups[frozen]:
            parameter.requires_grad_(False)
        groups[frozen] = []
    if not any(groups.values()):
        raise SamlError(f"{name}: {frozen} is frozen and there is nothing else to train; take `frozen` away")
    return groups
