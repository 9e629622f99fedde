"""The training of a crowd: as `saml.training.engine` for one, with everybody's next batches in one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any

import torch
from lhotse import MonoCut
from torch import Tensor

from saml.crowd.member import Member, MemberRows, Parts, rows_of
from saml.crowd.recogniser import CrowdRecogniser
from saml.crowd.updates import CrowdUpdates
from saml.features.batching import by_length, padded
from saml.runtime.progress import Progress
from saml.training.batch import IGNORED, Batch
from saml.training.checkpoints import Checkpoints
from saml.training.engine import curves, random_numbers, set_random_numbers, stop, take_over_curves
from saml.training.losses import UtteranceLosses, utterance_losses
from saml.training.parts import seconds_at_once
from saml.training.preemption import Interruption

Pause = Callable[[], None]


class CrowdTraining:
    """Trains members until each has been shown its own number of utterances.

    Every step takes the next batch of each; an epoch that ends is judged on that member's dev part
    before the next step; who has finished or failed leaves. The members' tasks have the same `examples` and
    differ in speech, budget, names and state only.
    """

    def __init__(
        self, name: str, crowd: CrowdRecogniser, members: Sequence[Member], updates: CrowdUpdates
    ) -> None:
        self.name = name
        self.crowd = crowd
        self.members = list(members)
        self.updates = updates
        self._task = members[0].task
        # Whose epochs have ended since the last checkpoint.
        self._ended: set[int] = set()

    def run(self, checkpoints: Checkpoints) -> None:
        """Train; leaves each member's best state in its `kept`, or why it failed in its `failed`.

        A checkpoint is left when everybody has ended an epoch since the last one, when one is due, and when
        the job is asked to stop; one that fits is taken up. Raises Interrupted after SIGTERM or SIGINT.
        """
        saved = checkpoints.load()
        if saved is not None:
            self._resume(saved)
        else:
            for member, scores in self._evaluate(self.members):
                member.judge(scores, 0)
        total = sum(member.task.utterances for member in self.members)
        with (
            Progress(self.name, total, start=self._shown()) as progress,
            Interruption(wanted=checkpoints.kept) as interruption,
        ):

            def keep() -> bool:
                return checkpoints.save(self._snapshot())

            def pause() -> None:
                if interruption.signal is not None:
                    stop(self.name, self._shown(), total, interruption.signal.name, saved=keep())
                if checkpoints.due:
                    keep()

            self.crowd.train()
            while training := [member for member in self.members if member.is_training]:
                over = [member for member in training if member.epoch_is_over]
                if over:
                    self._end_epochs(over, pause)
                    if self._ended >= {member.index for member in self.members if member.is_training}:
                        keep()
                        self._ended.clear()
                    self.crowd.train()
                else:
                    loss = self.step([(member, member.next_cuts()) for member in training])
                    progress.update(self._shown(), f"{len(training)} in training, loss {loss:.3f}")
                    pause()
            pause()
        self.crowd.eval()
        for member in self.members:
            member.finish()

    def step(self, parts: Parts) -> float:
        """One step of everybody in `parts`; returns the mean loss of their utterances."""
        rows = rows_of(parts)
        counts = torch.bincount(torch.tensor([member.index for member, _ in rows]))
        seen: dict[int, list[float]] = {member.index: [] for member, _ in parts}
        for some in self._by_length(rows):
            losses = self._losses(some, in_training=True).loss
            for member, values in self._own(some, losses):
                seen[member.index] += values
            # Whoever has failed is left out of the loss, and so of everybody's step.
            fine = [row for row, (member, _) in enumerate(some) if not member.failed]
            if fine:
                shares = 1 / counts[[some[row][0].index for row in fine]]
                (losses[fine] * shares.to(losses)).sum().backward()
        left = [member for member, _ in parts if not member.failed]
        if left:
            self.updates.step(torch.tensor([member.index for member in left], device=self._task.device))
        for member in left:
            member.has_seen(seen[member.index])
        return sum(map(sum, seen.values())) / max(1, sum(map(len, seen.values())))

    def _end_epochs(self, over: Sequence[Member], pause: Pause) -> None:
        """Judge those whose epochs are over. Up to the end of the judging nothing may have changed."""
        for member, scores in self._evaluate(over, pause):
            member.end_epoch(scores)
            self.updates.end_epoch([member.index])
            self._ended.add(member.index)

    @torch.no_grad()
    def _evaluate(
        self, members: Sequence[Member], pause: Pause = lambda: None
    ) -> list[tuple[Member, dict[str, float]]]:
        """Each one's mean loss on its own dev part and share of tokens right; who fails there is left out."""
        self.crowd.eval()
        sums = {member.index: [0.0, 0, 0, 0] for member in members}
        for turn in zip_longest(*(member.task.dev for member in members), fillvalue=()):
            pairs = zip(members, turn, strict=True)
            rows = rows_of([(member, cuts) for member, cuts in pairs if cuts and not member.failed])
            for some in self._by_length(rows):
                each = self._losses(some, in_training=False)
                for member, values in self._own(some, each.loss, when="in the dev part"):
                    own = sums[member.index]
                    own[0], own[1] = own[0] + sum(values), own[1] + len(values)
                for (member, _), correct, tokens in zip(
                    some, each.correct.tolist(), each.tokens.tolist(), strict=True
                ):
                    own = sums[member.index]
                    own[2], own[3] = own[2] + correct, own[3] + tokens
                pause()
        return [(member, _scores(sums[member.index])) for member in members if not member.failed]

    def _by_length(self, rows: MemberRows) -> Sequence[MemberRows]:
        """The rows in batches of like length, so that next to nothing of one is padding.

        A router that is given the decoder's input looks at padding too: then a member's rows stay together.
        """
        at_once = seconds_at_once(self._task.device)
        if not self.crowd.routed_by_input:
            return by_length(rows, at_once)
        parts: list[list[tuple[Member, MonoCut]]] = []
        for _, of_one in groupby(rows, lambda row: row[0].index):
            own = list(of_one)
            if parts and padded([cut for _, cut in [*parts[-1], *own]]) <= at_once:
                parts[-1] += own
            else:
                parts.append(own)
        return parts

    def _losses(self, rows: MemberRows, *, in_training: bool) -> UtteranceLosses:
        """The loss of each row with its own member's parameters."""
        how = self._task
        batch = self._batch(rows)
        with torch.autocast(how.device.type, torch.bfloat16, enabled=how.bfloat16 and in_training):
            return utterance_losses(self.crowd, batch, ctc_weight=how.ctc_weight, ctc_backend=how.ctc_backend)

    @staticmethod
    def _own(rows: MemberRows, losses: Tensor, when: str = "") -> Iterator[tuple[Member, list[float]]]:
        """Each member of `rows` and its losses; who has one that is no finite number fails."""
        own: dict[int, list[int]] = {}
        for row, (member, _) in enumerate(rows):
            own.setdefault(member.index, []).append(row)
        values = losses.detach().cpu()
        for found in own.values():
            member = rows[found[0]][0]
            utterances = [rows[row][1].id for row in found]
            said = when or f"in epoch {member.at.epochs + 1}"
            if not member.failed and member.is_finite(values[found], utterances, said):
                yield member, values[found].tolist()

    def _batch(self, rows: MemberRows) -> Batch:
        """The batch of `rows`, the crowd told whose they are; groups are the members' numbers."""
        groups = [member.index for member, _ in rows]
        batch = self._task.examples.batch([cut for _, cut in rows], groups)
        self.crowd.assign(groups, own_tokens(batch) if self.crowd.routed_by_input else None)
        return batch.to(self._task.device)

    def _shown(self) -> int:
        return sum(member.at.shown for member in self.members)

    def _snapshot(self) -> dict[str, Any]:
        return {
            "state": self.crowd.state(),
            "updates": self.updates.state_dict(),
            "members": [member.snapshot() for member in self.members],
            "curves": [curves(member.record) for member in self.members],
            "ended": sorted(self._ended),
            **random_numbers(),
        }

    def _resume(self, saved: Mapping[str, Any]) -> None:
        self.crowd.load_state(saved["state"])
        self.updates.load_state_dict(saved["updates"])
        for member, own, points in zip(self.members, saved["members"], saved["curves"], strict=True):
            member.resume(own)
            take_over_curves(member.record, points)
        self._ended = set(saved["ended"])
        set_random_numbers(saved)


def own_tokens(batch: Batch) -> torch.Tensor:
    """How many tokens each row would have, padding included, in a batch of its group alone, `(batch,)`."""
    real = batch.targets != IGNORED
    lengths = (real * torch.arange(1, real.shape[1] + 1)).amax(dim=1)
    longest = {group: int(lengths[batch.groups == group].max()) for group in set(batch.groups.tolist())}
    return torch.tensor([longest[group] for group in batch.groups.tolist()])


def _scores(sums: Sequence[float]) -> dict[str, float]:
    loss, utterances, correct, tokens = sums
    return {"loss": loss / utterances, "accuracy": correct / tokens}
