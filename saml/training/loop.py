"""The one training loop. What differs between the stages is data: a `Task`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saml.errors import SamlError
from saml.models.recogniser import Recogniser
from saml.progress import Progress
from saml.tracking import RunRecord
from saml.training.batch import Batch
from saml.training.checkpoints import Checkpoints
from saml.training.losses import grouped_mean, utterance_losses
from saml.training.updates import Updates

if TYPE_CHECKING:  # the loop itself works where lhotse is not installed
    from lhotse import MonoCut

    from saml.training.examples import Examples

    Joined = tuple[Sequence[MonoCut], Sequence[int] | None]


@dataclass(kw_only=True)
class Task:
    """Everything that tells one training from another.

    Attributes:
        name: for progress and errors.
        curve: prefix of the curves in the run record.
        recogniser: what is trained, plain or with adapters.
        examples: the speech, features in memory.
        batches: pass index to that pass's batches of cuts, each with its groups (or None).
        utterances: how many utterances are shown altogether; the last pass is cut short to fit.
        dev: batches to judge passes on; without any, the last state is kept.
        updates: how parameters move.
        get_state, set_state: what is kept of the best pass and stored in checkpoints.
        train, eval: switch modes.
        select: the best pass has the lowest dev "loss" or the highest dev "accuracy" (of tokens).
        judge_start: the state before the first pass is a candidate too.
        prepare: a last change to a batch: augmentation, routes.
    """

    name: str
    recogniser: Recogniser
    examples: Examples
    batches: Callable[[int], Sequence[Joined]]
    utterances: int
    updates: Updates
    get_state: Callable[[], dict[str, Tensor]]
    set_state: Callable[[dict[str, Tensor]], None]
    train: Callable[[], None]
    eval: Callable[[], None]
    curve: str = ""
    dev: Sequence[Sequence[MonoCut]] = ()
    select: str = "loss"
    judge_start: bool = False
    ctc_weight: float = 0.0
    label_smoothing: float = 0.0
    prepare: Callable[[Batch], Batch] = field(default=lambda batch: batch)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass
class _Best:
    score: float = float("-inf")
    dev: dict[str, float] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)


def run(task: Task, record: RunRecord, checkpoints: Checkpoints) -> dict[str, float]:
    """Train until `task.utterances` have been shown; leave the recogniser in its best state, evaluation mode.

    Curves go to `record`. A checkpoint is left after every pass, and one that fits is taken up: the result
    is the same as without the interruption.

    Returns the dev scores of the kept state ("loss", "accuracy", "pass"; only "pass" without a dev part).
    Raises SamlError when a loss is not finite.
    """
    best, shown, first = _Best(), 0, 0
    saved = checkpoints.load()
    if saved is not None:
        best, shown, first = _resume(task, saved, record)
    elif task.judge_start:
        _judge(task, best, 0, record)
    with Progress(task.name, task.utterances, start=shown) as progress:
        index = first
        while shown < task.utterances:
            before = shown
            shown = _one_pass(task, index, shown, progress, record)
            if shown == before:
                raise SamlError(f"{task.name}: there is nothing to train on")
            index += 1
            task.updates.end_pass()
            _judge(task, best, index, record)
            checkpoints.save(_snapshot(task, best, shown, index, record))
    if task.dev:
        task.set_state(best.state)
    task.eval()
    _refuse_infinite_state(task)
    return best.dev if task.dev else {"pass": float(index)}


def _one_pass(task: Task, index: int, shown: int, progress: Progress, record: RunRecord) -> int:
    """One pass over the data, or what the budget leaves of it; returns the utterances shown so far."""
    task.train()
    total, seen = 0.0, 0
    for cuts, groups in task.batches(index):
        room = task.utterances - shown
        if room <= 0:
            break
        cuts, groups = cuts[:room], groups[:room] if groups is not None else None
        batch = task.prepare(task.examples.batch(cuts, groups).to(task.device))
        losses = utterance_losses(
            task.recogniser, batch, ctc_weight=task.ctc_weight, label_smoothing=task.label_smoothing
        ).loss
        _refuse_infinite(task, losses, batch, f"in pass {index + 1}")
        grouped_mean(losses, batch.groups).backward()
        task.updates.step(batch.groups)
        total, seen, shown = total + float(losses.detach().sum()), seen + len(cuts), shown + len(cuts)
        progress.update(shown, f"pass {index + 1}, loss {total / seen:.3f}")
    record.curve(f"{task.curve}train/loss", index + 1, total / max(1, seen))
    return shown


def _refuse_infinite(task: Task, losses: Tensor, batch: Batch, when: str) -> None:
    bad = [
        utterance
        for utterance, loss in zip(batch.utterances, losses.detach(), strict=True)
        if not loss.isfinite()
    ]
    if bad:
        raise SamlError(
            f"{task.name}: the loss of utterance {bad[0]} is not finite {when}: "
            "lower the learning rate, or look at that recording"
        )


def _refuse_infinite_state(task: Task) -> None:
    for name, tensor in task.get_state().items():
        if not tensor.isfinite().all():
            raise SamlError(f"{task.name}: {name} is not finite after training: lower the learning rate")


def _judge(task: Task, best: _Best, index: int, record: RunRecord) -> None:
    """Score the state after `index` passes on the dev part and keep it when it is the best so far."""
    if not task.dev:
        return
    scores = _evaluate(task)
    for name, value in scores.items():
        record.curve(f"{task.curve}dev/{name}", index, value)
    score = -scores["loss"] if task.select == "loss" else scores["accuracy"]
    if score > best.score:
        best.score, best.dev = score, {**scores, "pass": float(index)}
        best.state = {name: tensor.clone() for name, tensor in task.get_state().items()}


@torch.no_grad()
def _evaluate(task: Task) -> dict[str, float]:
    """Mean loss over utterances, and the share of tokens right, both teacher-forced, on the dev part."""
    task.eval()
    loss, utterances, correct, tokens = 0.0, 0, 0, 0
    for cuts in task.dev:
        batch = task.examples.batch(cuts).to(task.device)
        each = utterance_losses(task.recogniser, batch, ctc_weight=task.ctc_weight)
        _refuse_infinite(task, each.loss, batch, "in the dev part")
        loss, utterances = loss + float(each.loss.sum()), utterances + len(cuts)
        correct, tokens = correct + int(each.correct.sum()), tokens + int(each.tokens.sum())
    return {"loss": loss / utterances, "accuracy": correct / tokens}


def _snapshot(task: Task, best: _Best, shown: int, index: int, record: RunRecord) -> dict[str, Any]:
    return {
        "state": task.get_state(),
        "updates": task.updates.state_dict(),
        "best": {"score": best.score, "dev": best.dev, "state": best.state},
        "shown": shown,
        "passes": index,
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "curves": [[point.name, point.step, point.value] for point in record.record.points],
    }


def _resume(task: Task, saved: dict[str, Any], record: RunRecord) -> tuple[_Best, int, int]:
    task.set_state(saved["state"])
    task.updates.load_state_dict(saved["updates"])
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"]:
        torch.cuda.set_rng_state_all(saved["random_cuda"])
    for name, step, value in saved["curves"][len(record.record.points) :]:
        record.curve(name, step, value)
    best = saved["best"]
    return _Best(best["score"], best["dev"], best["state"]), saved["shown"], saved["passes"]
