"""The training engine: any number of tasks over one model, their next batches in one step."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from signal import Signals
from typing import Any, Protocol

import torch
from torch import Tensor

from saml.features.batching import padded
from saml.models.recogniser import Recogniser
from saml.runtime.devices import random_state, seconds_at_once, set_random_state
from saml.runtime.errors import Interrupted, SamlError
from saml.runtime.progress import Progress
from saml.training.checkpoints import Checkpoints
from saml.training.data import Batch, Examples, Row, own_tokens, split_rows
from saml.training.losses import UtteranceLosses, utterance_losses
from saml.training.optim import Updates
from saml.training.preemption import Interruption
from saml.training.task import Progression, Scores, State, Task

Pause = Callable[[], None]
# A step: each task with its next batch.
Step = Sequence[tuple[Progression, Sequence[Any]]]


class Trainable(Protocol):
    """The parameters that are trained: of an `AdaptedRecogniser`, or of a base model (`WholeModel`)."""

    def train(self) -> None:
        """Training mode."""

    def eval(self) -> None:
        """Evaluation mode."""

    def full_state(self) -> State:
        """All parameters that are trained, for a checkpoint."""

    def load_full_state(self, state: State) -> None:
        """Restore what `full_state` returned."""


@dataclass(kw_only=True)
class Training:
    """Trains tasks until each has been shown its own number of utterances.

    Every step takes the next batch of each task, all over the same model, each row with its own adapter. An
    epoch that ends is evaluated on that task's dev part before the next step. A task that is finished, or has
    a loss that is not finite, takes part no longer; the others go on. The result of a task is what it is when
    trained alone, but for rounding, and for the order in which dropout draws.

    Attributes:
        name: for progress and errors.
        recogniser: computes the losses.
        model: its trained parameters; an `AdaptedRecogniser` is both.
        examples: the utterances of all tasks.
        tasks: task i trains adapter i.
        updates: the optimiser.
        ctc_weight, ctc_backend, label_smoothing: of the loss, see `utterance_losses`.
        bfloat16: losses in training are computed in bfloat16, where torch considers that safe.
        augment: a random change of each training batch.
        split_steps: whether a step with much speech is computed in parts of similar length, see
            `seconds_at_once`; the gradients add up to the same. `always` also orders what would fit at once.
        device: where to compute.
    """

    name: str
    recogniser: Recogniser
    model: Trainable
    examples: Examples
    tasks: Sequence[Task]
    updates: Updates
    ctc_weight: float
    ctc_backend: str
    label_smoothing: float = 0.0
    bfloat16: bool = False
    augment: Callable[[Batch], Batch] = field(default=lambda batch: batch)
    split_steps: str = "never"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def run(self, checkpoints: Checkpoints) -> list[Progression]:
        """Train, and set the model to the kept states, in evaluation mode.

        A checkpoint is left when all tasks have ended an epoch since the last one, whenever one is due, and
        when the job is asked to stop; one that fits is resumed: the result is the same as without the
        interruption.

        Returns:
            the tasks with their positions, kept states and failures, in order.

        Raises:
            SamlError: a task has nothing to train on.
            Interrupted: after SIGTERM or SIGINT.
        """
        progressions = [Progression(index, task) for index, task in enumerate(self.tasks)]
        ended: set[int] = set()  # adapters that have ended an epoch since the last checkpoint
        saved = checkpoints.load()
        if saved is not None:
            ended = self._resume(progressions, saved)
        else:
            candidates = [each for each in progressions if each.task.initial_counts]
            for progression, dev in self._evaluate(candidates):
                progression.judge(dev, 0)
        total = sum(task.utterances for task in self.tasks)

        def shown() -> int:
            return sum(each.at.shown for each in progressions)

        def save() -> bool:
            return checkpoints.save(self._snapshot(progressions, ended))

        with (
            Progress(self.name, total, start=shown()) as progress,
            Interruption(wanted=checkpoints.kept) as interruption,
        ):

            def pause() -> None:
                if interruption.signal is not None:
                    self._stop(shown(), total, interruption.signal, saved=save())
                if checkpoints.due:
                    save()

            self.model.train()
            while training := [each for each in progressions if each.is_training]:
                over = [each for each in training if each.epoch_is_over]
                if over:
                    self._end_epochs(over, pause)
                    ended |= {each.adapter for each in over}
                    if ended >= {each.adapter for each in progressions if each.is_training}:
                        save()
                        ended.clear()
                    self.model.train()
                else:
                    loss = self.step([(each, self._next_batch(each)) for each in training])
                    progress.update(shown(), self._progress(training, loss))
                    pause()
            # A request to stop during the last checkpoint: another training may follow in this job.
            pause()
        self.model.eval()
        for progression in progressions:
            progression.finish()
        return progressions

    def step(self, step: Step) -> float:
        """One step of all tasks in `step`; returns the mean loss of their utterances."""
        rows = _in_turns(step)
        by_adapter = {each.adapter: each for each, _ in step}
        counts = {each.adapter: len(cuts) for each, cuts in step}
        seen: dict[int, list[float]] = {adapter: [] for adapter in by_adapter}
        for part in self._parts(rows):
            losses = self._losses(part, in_training=True).loss
            for progression, values in self._finite(part, losses, by_adapter):
                seen[progression.adapter] += values
            # Tasks that have failed are left out of the loss, and so of every step.
            fine = [row for row, (adapter, _) in enumerate(part) if not by_adapter[adapter].failed]
            if fine:
                shares = torch.tensor([1 / counts[part[row][0]] for row in fine])
                (losses[fine] * shares.to(losses)).sum().backward()
        left = [each for each, _ in step if not each.failed]
        if left:
            self.updates.step(torch.tensor([each.adapter for each in left], device=self.device))
        for progression in left:
            progression.count(seen[progression.adapter])
        return sum(map(sum, seen.values())) / max(1, sum(map(len, seen.values())))

    @torch.no_grad()
    def evaluate(self, progression: Progression) -> Scores:
        """The dev scores of a task now: mean loss over utterances, and share of correct tokens."""
        ((_, scores),) = self._evaluate([progression])
        return scores

    def _next_batch(self, progression: Progression) -> Sequence[Any]:
        batch = progression.next_batch()
        if not batch:
            raise SamlError(f"{progression.task.name}: there is nothing to train on")
        return batch

    def _end_epochs(self, over: Sequence[Progression], pause: Pause) -> None:
        """Evaluate the epochs that are over. Until all are evaluated nothing may have changed."""
        scores = {each.adapter: dev for each, dev in self._evaluate(over, pause)}
        for progression in over:
            if not progression.failed:
                progression.end_epoch(scores.get(progression.adapter))
                self.updates.end_epoch(progression.adapter)

    @torch.no_grad()
    def _evaluate(
        self, progressions: Sequence[Progression], pause: Pause = lambda: None
    ) -> list[tuple[Progression, Scores]]:
        """The dev scores of each task that has a dev part; one that fails there is left out."""
        self.model.eval()
        evaluated = [each for each in progressions if each.task.dev]
        by_adapter = {each.adapter: each for each in evaluated}
        sums = {adapter: [0.0, 0, 0, 0] for adapter in by_adapter}
        for turn in zip_longest(*(each.task.dev for each in evaluated), fillvalue=()):
            pairs = zip(evaluated, turn, strict=True)
            rows = [(each.adapter, cut) for each, cuts in pairs if not each.failed for cut in cuts]
            for part in split_rows(rows, self._limit, together=self.recogniser.routed_by_input):
                each = self._losses(part, in_training=False)
                for progression, values in self._finite(part, each.loss, by_adapter, "in the dev part"):
                    own = sums[progression.adapter]
                    own[0], own[1] = own[0] + sum(values), own[1] + len(values)
                for (adapter, _), correct, tokens in zip(
                    part, each.correct.tolist(), each.tokens.tolist(), strict=True
                ):
                    own = sums[adapter]
                    own[2], own[3] = own[2] + correct, own[3] + tokens
                pause()
        return [(each, _scores(sums[each.adapter])) for each in evaluated if not each.failed]

    @property
    def _limit(self) -> float:
        return seconds_at_once(self.device)

    def _parts(self, rows: Sequence[Row]) -> Sequence[Sequence[Row]]:
        """The rows of a step as they are computed: at once, or in parts of similar length."""
        fits = padded([cut for _, cut in rows]) <= self._limit
        if self.split_steps == "never" or (self.split_steps == "long" and fits):
            return [rows]
        return split_rows(rows, self._limit, together=self.recogniser.routed_by_input)

    def _losses(self, rows: Sequence[Row], *, in_training: bool) -> UtteranceLosses:
        """The loss of each row with its own adapter."""
        adapters = [adapter for adapter, _ in rows]
        batch = self.examples.batch([cut for _, cut in rows])
        self.recogniser.assign(
            adapters,
            own_tokens(batch, adapters) if self.recogniser.routed_by_input else None,
            [cut.supervisions[0].speaker for _, cut in rows],
        )
        batch = batch.to(self.device)
        if in_training:
            batch = self.augment(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16 and in_training):
            return utterance_losses(
                self.recogniser,
                batch,
                ctc_weight=self.ctc_weight,
                ctc_backend=self.ctc_backend,
                label_smoothing=self.label_smoothing if in_training else 0.0,
            )

    def _finite(
        self, rows: Sequence[Row], losses: Tensor, by_adapter: Mapping[int, Progression], when: str = ""
    ) -> Iterator[tuple[Progression, list[float]]]:
        """The losses of each task in `rows`; a task with one that is not finite fails."""
        own: dict[int, list[int]] = {}
        for row, (adapter, _) in enumerate(rows):
            own.setdefault(adapter, []).append(row)
        values = losses.detach().cpu()
        for adapter, found in own.items():
            progression = by_adapter[adapter]
            place = when or f"in epoch {progression.at.epochs + 1}"
            utterances = [rows[row][1].id for row in found]
            if progression.failed:
                continue
            if progression.accept(values[found], utterances, place):
                yield progression, values[found].tolist()
            elif len(self.tasks) > 1:
                print(f"{progression.failed}; the others go on", file=sys.stderr, flush=True)

    def _progress(self, training: Sequence[Progression], loss: float) -> str:
        if len(self.tasks) > 1:
            return f"{len(training)} in training, loss {loss:.3f}"
        at = training[0].at
        return f"epoch {at.epochs + 1}, loss {at.total / max(1, at.seen):.3f}"

    def _stop(self, shown: int, total: int, by: Signals, *, saved: bool) -> None:
        """End the job in good order: raise Interrupted."""
        how = "a checkpoint is saved" if saved else "no checkpoint could be saved"
        where = "there" if saved else "the last one"
        raise Interrupted(
            f"{self.name}: stopped by {by.name} after {shown} of {total} utterances; {how}: "
            f"the same command goes on from {where}",
            status=128 + by,
        )

    def _snapshot(self, progressions: Sequence[Progression], ended: set[int]) -> dict[str, Any]:
        return {
            "model": self.model.full_state(),
            "updates": self.updates.state_dict(),
            "tasks": [each.snapshot() for each in progressions],
            "ended": sorted(ended),
            **random_state(),
        }

    def _resume(self, progressions: Sequence[Progression], saved: Mapping[str, Any]) -> set[int]:
        self.model.load_full_state(saved["model"])
        self.updates.load_state_dict(saved["updates"])
        for progression, own in zip(progressions, saved["tasks"], strict=True):
            progression.resume(own)
        set_random_state({name: saved[name] for name in ("random", "random_cuda")})
        return set(saved["ended"])


def _in_turns(step: Step) -> list[Row]:
    """The first utterance of every task, then the second of each that has one, and so on."""
    columns = ([(each.adapter, cut) for cut in cuts] for each, cuts in step)
    return [row for turn in zip_longest(*columns) for row in turn if row is not None]


def _scores(sums: Sequence[float]) -> Scores:
    loss, utterances, correct, tokens = sums
    return {"loss": loss / utterances, "accuracy": correct / tokens}
