"""One member of a crowd while it is trained: how far it is, its best epoch, why it stopped."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lhotse import MonoCut
from torch import Tensor

from saml.runtime.errors import Diverged
from saml.tracking import RunRecord
from saml.training.engine import Kept, Position, Task, judge, refuse_infinite, refuse_infinite_state


@dataclass
class Member:
    """A member, and everything of its training that is its own.

    Attributes:
        index: which of the crowd's.
        task: its training as it would be alone; its `updates` are the crowd's.
        record: takes its curves; folds of a speaker share one.
        at: how far it is.
        kept: its best state so far, if it has been judged.
        failed: why it cannot go on; empty where it can.
    """

    index: int
    task: Task
    record: RunRecord
    at: Position = field(default_factory=Position)
    kept: list[Kept] = field(default_factory=list)
    failed: str = ""
    _epoch: tuple[int, Sequence[Any]] = (-1, ())

    @property
    def is_training(self) -> bool:
        """Whether there is speech left to show, or an epoch to be judged."""
        return not self.failed and (self.at.shown < self.task.utterances or self.at.batches > 0)

    @property
    def epoch_is_over(self) -> bool:
        """Whether all of the epoch has been shown, or of the budget."""
        return self.at.batches > 0 and not self.next_cuts()

    def next_cuts(self) -> Sequence[MonoCut]:
        """What it is shown next; nothing where its epoch is over."""
        if self._epoch[0] != self.at.epochs:
            self._epoch = self.at.epochs, self.task.batches(self.at.epochs)
        room = self.task.utterances - self.at.shown
        if room <= 0 or self.at.batches >= len(self._epoch[1]):
            return ()
        cuts, _ = self._epoch[1][self.at.batches]
        return cuts[:room]

    def has_seen(self, losses: Sequence[float]) -> None:
        """It has taken a step on utterances with these losses."""
        count = len(losses)
        self.at.total, self.at.seen = self.at.total + sum(losses), self.at.seen + count
        self.at.shown, self.at.batches = self.at.shown + count, self.at.batches + 1

    def end_epoch(self, scores: dict[str, float]) -> None:
        """Note the epoch that is over and how the state does on the dev part; on to the next."""
        epochs = self.at.epochs + 1
        self.record.curve(f"{self.task.curve}train/loss", epochs, self.at.total / max(1, self.at.seen))
        self.judge(scores, epochs)
        self.at.next_epoch()

    def judge(self, scores: dict[str, float], epochs: int) -> None:
        """Keep the state after so many epochs if it is the best so far on the dev part."""
        judge(self.task, self.kept, scores, epochs, self.record)

    def is_finite(self, losses: Tensor, utterances: Sequence[str], when: str) -> bool:
        """Whether all `losses` of these utterances are finite numbers; else the member stops here."""
        try:
            refuse_infinite(self.task, losses, utterances, when)
        except Diverged as error:
            self._fail(error)
        return not self.failed

    def finish(self) -> None:
        """The training is over: look at the state that is kept."""
        if self.failed:
            return
        try:
            refuse_infinite_state(self.task.name, self.kept[0].state)
        except Diverged as error:
            self._fail(error)

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint: what is not in the crowd's parameters, its updates or the record."""
        kept = [dict(vars(each)) for each in self.kept]
        return {"at": asdict(self.at), "kept": kept, "failed": self.failed}

    def resume(self, saved: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.at, self.failed = Position(**saved["at"]), saved["failed"]
        self.kept = [Kept(**each) for each in saved["kept"]]

    def _fail(self, error: Diverged) -> None:
        self.failed = str(error)
        print(f"{self.failed}; the others go on", file=sys.stderr, flush=True)


# What everybody is shown in a step: members, each with some cuts of its own.
Parts = Sequence[tuple[Member, Sequence[MonoCut]]]
# The same one by one.
MemberRows = Sequence[tuple[Member, MonoCut]]


def rows_of(parts: Parts) -> MemberRows:
    """The cuts of `parts`, each with its member."""
    return [(member, cut) for member, cuts in parts for cut in cuts]
