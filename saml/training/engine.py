"""The one training loop. What differs between the stages is data: a `Task`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saml.compat import icefall as icefall_average
from saml.features.batching import by_length, padded_seconds
from saml.models.recogniser import Recogniser
from saml.runtime.errors import Diverged, Interrupted, SamlError
from saml.runtime.progress import Progress
from saml.tracking import RunRecord
from saml.training.batch import Batch
from saml.training.checkpoints import Checkpoints
from saml.training.losses import grouped_mean, utterance_losses
from saml.training.optim import Updates
from saml.training.preemption import Interruption

if TYPE_CHECKING:  # the loop itself works where lhotse is not installed
    from lhotse import MonoCut

    from saml.training.data import Examples

    Joined = tuple[Sequence[MonoCut], Sequence[int] | None]


@dataclass(kw_only=True)
class Task:
    """Everything that tells one training from another.

    Attributes:
        name: for progress and errors.
        curve: prefix of the curves in the run record.
        recogniser: what is trained, plain or with adapters.
        examples: the speech, features in memory.
        batches: epoch index to that epoch's batches of cuts, each with its groups (or None).
        utterances: how many utterances are shown altogether; the last epoch is cut short to fit.
        dev: batches to judge epochs on; without any, the last state is kept.
        updates: how parameters move.
        get_state, set_state: what is kept of the best epoch and stored in checkpoints.
        train, eval: switch modes.
        select: the best epoch has the lowest dev "loss" or the highest dev "accuracy" (of tokens).
        judge_start: the state before the first epoch is a candidate too.
        ctc_weight, ctc_backend: of the CTC loss, how much it counts and who computes it.
        average: of so many best epochs the mean is kept, with 1 the best alone.
        average_by: who computes that mean, "saml" or "icefall".
        bfloat16: the losses that are trained are computed in it, where torch holds that to be safe.
        prepare: a last change to a batch: augmentation, routes.
        seconds_at_once: a batch with more speech is computed in parts, cuts of like length together; without,
            all of it at once.
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
    average: int = 1
    average_by: str = "saml"
    bfloat16: bool = False
    ctc_weight: float = 0.0
    ctc_backend: str = "torch"
    label_smoothing: float = 0.0
    prepare: Callable[[Batch], Batch] = field(default=lambda batch: batch)
    seconds_at_once: float | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass
class Kept:
    """A state that may be the result, or have a share in it, and how it does on the dev part."""

    score: float
    dev: dict[str, float]
    state: dict[str, Tensor]


@dataclass
class Position:
    """How far a training is: epochs that are finished, and what is done of the next one."""

    shown: int = 0
    epochs: int = 0
    batches: int = 0
    seen: int = 0
    total: float = 0.0

    def next_epoch(self) -> None:
        """Move on to the beginning of the next epoch."""
        self.epochs, self.batches, self.seen, self.total = self.epochs + 1, 0, 0, 0.0


def run(task: Task, record: RunRecord, checkpoints: Checkpoints) -> dict[str, float]:
    """Train until `task.utterances` have been shown; leave the recogniser in its best state, evaluation mode.

    The best state is that of the best epoch on the dev part, or the mean of the best ones (`task.average`).

    Curves go to `record`. A checkpoint is left after every epoch, whenever one is due, and when the job is
    asked to stop; one that fits is taken up: the result is the same as without the interruption.

    Returns the dev scores of the kept state ("loss", "accuracy", "epoch"; only "epoch" without a dev part).
    Raises Diverged, a SamlError, when a loss or a weight is not finite; Interrupted after SIGTERM or SIGINT.
    """
    kept, at = list[Kept](), Position()
    saved = checkpoints.load()
    if saved is not None:
        kept, at = _resume(task, saved, record)
    elif task.judge_start:
        judge(task, kept, _evaluate(task), 0, record)

    def keep() -> bool:
        return checkpoints.save(_snapshot(task, kept, at, record))

    with (
        Progress(task.name, task.utterances, start=at.shown) as progress,
        Interruption(wanted=checkpoints.kept) as interruption,
    ):

        def pause() -> None:
            if interruption.signal is not None:
                stop(task.name, at.shown, task.utterances, interruption.signal.name, saved=keep())
            if checkpoints.due:
                keep()

        # An epoch can be cut short when all is shown and only its end is missing.
        while at.shown < task.utterances or at.batches:
            _one_epoch(task, at.epochs, at, progress, pause)
            if not at.batches:
                raise SamlError(f"{task.name}: there is nothing to train on")
            scores = _evaluate(task, pause)
            # From here to the checkpoint nothing may pause: what follows happens once an epoch.
            record.curve(f"{task.curve}train/loss", at.epochs + 1, at.total / max(1, at.seen))
            judge(task, kept, scores, at.epochs + 1, record)
            task.updates.end_epoch()
            at.next_epoch()
            keep()
        # Who was asked to stop meanwhile: another training may follow in this job.
        pause()
    scores = {"epoch": float(at.epochs)}
    if task.dev:
        scores = _take_best(task, kept)
    task.eval()
    refuse_infinite_state(task.name, task.get_state())
    return scores


def _one_epoch(task: Task, index: int, at: Position, progress: Progress, pause: Callable[[], None]) -> None:
    """Pass `index` over the data, or what is left of it and of the budget; moves `at` on with every step."""
    task.train()
    for cuts, groups in task.batches(index)[at.batches :]:
        room = task.utterances - at.shown
        if room <= 0:
            break
        cuts = cuts[:room]
        groups = groups[:room] if groups is not None else [0] * len(cuts)
        at.total += _gradients(task, cuts, groups, f"in epoch {index + 1}")
        task.updates.step(torch.tensor(groups, device=task.device))
        at.seen += len(cuts)
        at.shown, at.batches = at.shown + len(cuts), at.batches + 1
        progress.update(at.shown, f"epoch {index + 1}, loss {at.total / at.seen:.3f}")
        pause()


def _gradients(task: Task, cuts: Sequence[MonoCut], groups: Sequence[int], when: str) -> float:
    """Add up the gradients of a batch, part by part where there is a limit; returns its sum of losses."""
    counts = torch.bincount(torch.tensor(groups, device=task.device))
    rows = list(zip(groups, cuts, strict=True))
    total = 0.0
    padded = len(cuts) * max(map(padded_seconds, cuts))
    limit = task.seconds_at_once
    for part in [rows] if limit is None or padded <= limit else by_length(rows, limit):
        batch = task.examples.batch([cut for _, cut in part], [group for group, _ in part])
        batch = task.prepare(batch.to(task.device))
        with torch.autocast(task.device.type, torch.bfloat16, enabled=task.bfloat16):
            losses = utterance_losses(
                task.recogniser,
                batch,
                ctc_weight=task.ctc_weight,
                label_smoothing=task.label_smoothing,
                ctc_backend=task.ctc_backend,
            ).loss
        refuse_infinite(task, losses, batch.utterances, when)
        grouped_mean(losses, batch.groups, counts).backward()
        total += float(losses.detach().sum())
    return total


def stop(name: str, shown: int, utterances: int, why: str, *, saved: bool) -> None:
    """End a job in good order: raise Interrupted."""
    how = "a checkpoint is saved" if saved else "no checkpoint could be saved"
    raise Interrupted(
        f"{name}: stopped by {why} after {shown} of {utterances} utterances; {how}: "
        + ("the same command goes on from there" if saved else "the same command goes on from the last one")
    )


def refuse_infinite(task: Task, losses: Tensor, utterances: Sequence[str], when: str) -> None:
    """Raise Diverged, naming the first of `utterances` whose loss `(batch,)` is not finite."""
    bad = [
        utterance for utterance, loss in zip(utterances, losses.detach(), strict=True) if not loss.isfinite()
    ]
    if bad:
        raise Diverged(
            f"{task.name}: the loss of utterance {bad[0]} is not finite {when}: "
            "lower the learning rate, or look at that recording"
        )


def refuse_infinite_state(training: str, state: Mapping[str, Tensor]) -> None:
    """Raise Diverged, naming the training and a tensor of its `state` that is not finite."""
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise Diverged(f"{training}: {name} is not finite after training: lower the learning rate")


def judge(task: Task, kept: list[Kept], scores: dict[str, float], index: int, record: RunRecord) -> None:
    """Keep the state after `index` epochs when its `scores` on the dev part are among the best so far.

    `kept` has the best first, and of equal ones the earlier.
    """
    if not scores:
        return
    for name, value in scores.items():
        record.curve(f"{task.curve}dev/{name}", index, value)
    score = -scores["loss"] if task.select == "loss" else scores["accuracy"]
    if len(kept) < task.average or score > kept[-1].score:
        state = {name: tensor.clone() for name, tensor in task.get_state().items()}
        kept.append(Kept(score, {**scores, "epoch": float(index)}, state))
        kept.sort(key=lambda each: -each.score)
        del kept[task.average :]


def _take_best(task: Task, kept: Sequence[Kept]) -> dict[str, float]:
    """Put the recogniser into its best state; returns how that does on the dev part."""
    if len(kept) == 1:
        task.set_state(kept[0].state)
        return kept[0].dev
    states = [each.state for each in kept]
    if task.average_by == "icefall":
        task.set_state(icefall_average.mean_state(states, "base_training.average_by: icefall"))
    else:
        task.set_state(mean_state(states))
    return {**_evaluate(task), "epoch": kept[0].dev["epoch"], "averaged": float(len(kept))}


def mean_state(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor over `states`: weights, and batch norm's statistics among them."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }


@torch.no_grad()
def _evaluate(task: Task, pause: Callable[[], None] = lambda: None) -> dict[str, float]:
    """Mean loss over utterances, and the share of tokens right, both teacher-forced, on the dev part."""
    if not task.dev:
        return {}
    task.eval()
    loss, utterances, correct, tokens = 0.0, 0, 0, 0
    for cuts in task.dev:
        batch = task.examples.batch(cuts).to(task.device)
        each = utterance_losses(
            task.recogniser, batch, ctc_weight=task.ctc_weight, ctc_backend=task.ctc_backend
        )
        refuse_infinite(task, each.loss, batch.utterances, "in the dev part")
        loss, utterances = loss + float(each.loss.sum()), utterances + len(cuts)
        correct, tokens = correct + int(each.correct.sum()), tokens + int(each.tokens.sum())
        pause()
    return {"loss": loss / utterances, "accuracy": correct / tokens}


def _snapshot(task: Task, kept: Sequence[Kept], at: Position, record: RunRecord) -> dict[str, Any]:
    return {
        "state": task.get_state(),
        "updates": task.updates.state_dict(),
        "kept": [dict(vars(each)) for each in kept],
        "at": asdict(at),
        **random_numbers(),
        "curves": curves(record),
    }


def _resume(task: Task, saved: dict[str, Any], record: RunRecord) -> tuple[list[Kept], Position]:
    task.set_state(saved["state"])
    task.updates.load_state_dict(saved["updates"])
    set_random_numbers(saved)
    take_over_curves(record, saved["curves"])
    return [Kept(**each) for each in saved["kept"]], Position(**saved["at"])


def random_numbers() -> dict[str, Any]:
    """Where the generators of random numbers are, for a checkpoint: the CPU's, and that of the GPU in use."""
    return {
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_numbers(saved: Mapping[str, Any]) -> None:
    """Put the generators where `random_numbers` found them."""
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"] is not None:
        torch.cuda.set_rng_state(saved["random_cuda"])


def curves(record: RunRecord) -> list[list[Any]]:
    """The curves so far, for a checkpoint."""
    return [[point.name, point.step, point.value] for point in record.record.points]


def take_over_curves(record: RunRecord, saved: Sequence[Sequence[Any]]) -> None:
    """Add what `record` does not have yet of the curves in a checkpoint."""
    for name, step, value in saved[len(record.record.points) :]:
        record.curve(name, step, value)
