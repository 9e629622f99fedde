"""What is trained: one task per adapter (or a whole base model), and how far its training has come."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lhotse import MonoCut
from torch import Tensor

from saml.compat import icefall
from saml.runtime.errors import Diverged
from saml.tracking import RunRecord

State = dict[str, Tensor]
Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The training of one adapter, or of a base model as a whole.

    Attributes:
        name: for progress and errors.
        record: takes its curves; folds of a speaker share one.
        curve: prefix of its curves in the record.
        batches: epoch index to the batches of cuts of that epoch.
        utterances: how many utterances are shown altogether; the last epoch is cut short to fit.
        dev: batches to evaluate epochs on; without any, the last state is kept.
        get_state, set_state: the parameters that are kept of the best epoch.
        select: the best epoch has the lowest dev "loss" or the highest dev "accuracy" (of tokens).
        initial_counts: the state before the first epoch is a candidate too.
        average: the mean of so many best epochs is kept; with 1 the best alone.
        average_by: which library computes that mean, "saml" or "icefall".
    """

    name: str
    record: RunRecord
    batches: Callable[[int], Sequence[Sequence[MonoCut]]]
    utterances: int
    get_state: Callable[[], State]
    set_state: Callable[[State], None]
    curve: str = ""
    dev: Sequence[Sequence[MonoCut]] = ()
    select: str = "loss"
    initial_counts: bool = False
    average: int = 1
    average_by: str = "saml"


@dataclass
class Kept:
    """A candidate for the result, or for a share in it: its score (higher is better), dev scores, state."""

    score: float
    dev: Scores
    state: State


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


@dataclass
class Progression:
    """A task while it is trained.

    Attributes:
        adapter: the index of its adapter; 0 for a base model.
        task: what is trained.
        at: how far it is.
        kept: its best states so far, the best first; of equal ones the earlier first.
        failed: why it cannot go on; empty where it can.
    """

    adapter: int
    task: Task
    at: Position = field(default_factory=Position)
    kept: list[Kept] = field(default_factory=list)
    failed: str = ""
    _epoch: tuple[int, Sequence[Sequence[MonoCut]]] = (-1, ())

    @property
    def is_training(self) -> bool:
        """Whether there are utterances left to show, or an epoch to be evaluated."""
        return not self.failed and (self.at.shown < self.task.utterances or self.at.batches > 0)

    @property
    def epoch_is_over(self) -> bool:
        """Whether all of the epoch has been shown, or of the budget."""
        return self.at.batches > 0 and not self.next_batch()

    def next_batch(self) -> Sequence[MonoCut]:
        """The next batch of the epoch; empty where the epoch is over."""
        if self._epoch[0] != self.at.epochs:
            self._epoch = self.at.epochs, self.task.batches(self.at.epochs)
        room = self.task.utterances - self.at.shown
        if room <= 0 or self.at.batches >= len(self._epoch[1]):
            return ()
        return self._epoch[1][self.at.batches][:room]

    def count(self, losses: Sequence[float]) -> None:
        """Count a step on utterances with these losses."""
        self.at.total, self.at.seen = self.at.total + sum(losses), self.at.seen + len(losses)
        self.at.shown, self.at.batches = self.at.shown + len(losses), self.at.batches + 1

    def end_epoch(self, dev: Scores | None) -> None:
        """Record the epoch that is over, with the dev scores of its state; go on to the next."""
        epoch = self.at.epochs + 1
        loss = self.at.total / max(1, self.at.seen)
        self.task.record.curve(f"{self.task.curve}train/loss", epoch, loss)
        if dev is not None:
            self.judge(dev, epoch)
        self.at.next_epoch()

    def judge(self, dev: Scores, epoch: int) -> None:
        """Keep the state after `epoch` epochs when its dev scores are among the best so far."""
        for name, value in dev.items():
            self.task.record.curve(f"{self.task.curve}dev/{name}", epoch, value)
        score = -dev["loss"] if self.task.select == "loss" else dev["accuracy"]
        if len(self.kept) < self.task.average or score > self.kept[-1].score:
            state = {name: tensor.clone() for name, tensor in self.task.get_state().items()}
            self.kept.append(Kept(score, {**dev, "epoch": float(epoch)}, state))
            self.kept.sort(key=lambda each: -each.score)
            del self.kept[self.task.average :]

    def accept(self, losses: Tensor, utterances: Sequence[str], when: str) -> bool:
        """Whether all losses `(utterances,)` are finite; otherwise the task has failed, naming the first."""
        for utterance, loss in zip(utterances, losses, strict=True):
            if not loss.isfinite():
                self.failed = (
                    f"{self.task.name}: the loss of utterance {utterance} is not finite {when}: "
                    "lower the learning rate, or look at that recording"
                )
                return False
        return True

    def finish(self) -> None:
        """Set the model to the kept state: the best epoch, or the mean of the best ones."""
        if self.failed:
            return
        if self.kept:
            states = [each.state for each in self.kept]
            self.task.set_state(states[0] if len(states) == 1 else self._mean(states))
        for name, tensor in self.task.get_state().items():
            if not tensor.isfinite().all():
                self.failed = (
                    f"{self.task.name}: {name} is not finite after training: lower the learning rate"
                )
                return

    def _mean(self, states: Sequence[State]) -> State:
        if self.task.average_by == "icefall":
            return icefall.mean_state(states, "base_training.average_by: icefall")
        return mean_state(states)

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint: everything but the model's parameters and the optimiser."""
        curves = [[point.name, point.step, point.value] for point in self.task.record.record.points]
        kept = [dict(vars(each)) for each in self.kept]
        return {"at": asdict(self.at), "kept": kept, "failed": self.failed, "curves": curves}

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Restore a snapshot."""
        self.at, self.failed = Position(**saved["at"]), saved["failed"]
        self.kept = [Kept(**each) for each in saved["kept"]]
        # Folds share a record: the points that another fold has restored are there already.
        for name, step, value in saved["curves"][len(self.task.record.record.points) :]:
            self.task.record.curve(name, step, value)

    def check(self) -> None:
        """Raise Diverged where the task has failed."""
        if self.failed:
            raise Diverged(self.failed)


def mean_state(states: Sequence[State]) -> State:
    """The mean of each tensor over `states`: weights, and batch norm's statistics among them."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
