"""Speaker adaptation: one arm, one target speaker, one seed; one adapter for each fold of the speaker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saml.adapters.adapted import AdaptedRecogniser, AdapterSpec, adapter_spec
from saml.adapters.store import State, load_adapter, refuse_other_spec, save_adapter
from saml.corpora.partition import enrolled
from saml.errors import SamlError
from saml.models.store import load_model
from saml.tracking import RunRecord
from saml.training.adapter_task import adapter_task
from saml.training.checkpoints import Checkpoints
from saml.training.common import (
    Fold,
    device,
    identity,
    make_deterministic,
    read_cuts,
    read_splits,
    section_for_arm,
    seed_for,
)
from saml.training.examples import Examples
from saml.training.loop import Task, run
from saml.training.updates import Updates


def adapt(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    speaker: str,
    seed: int,
    weights: Path,
    description: Path,
    cuts: Path,
    splits: Path,
    out_adapter: Path,
    out_description: Path,
    record: Path,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    work: Path | None = None,
    checkpoint_seconds: float = float("inf"),
    corpus: str | None = None,
) -> None:
    """Train an arm's adapter on (so much of) a speaker's train part; the best pass on the dev part is kept.

    The state before the first pass is a candidate too: adapting never has to make things worse on dev.

    Args:
        experiment: name of the experiment.
        settings: the config's sections `arm` (the entry of this arm), `adapters` and `adaptation`, and of
            `partition` the key `enrolment`: at most so many training utterances (null: all).
        arm: name of the arm.
        speaker: whom to adapt to.
        seed: decides fresh adapters and the order of the speech; all arms hear it in the same order.
        weights: input, the model.
        description: input, its JSON.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds.
        out_adapter: output.
        out_description: output, its JSON.
        record: output, the run record of the adaptation, which decoding takes over into its own.
        adapter: input, the pre-trained adapter; needed by an arm that is pre-trained.
        adapter_description: input, its JSON.
        work: where checkpoints live until the job is done.
        checkpoint_seconds: one is left so often; after a pass one is left in any case.
        corpus: name of the corpus, for the record.
    """
    base, content = load_model(weights, description)
    what = Adaptation(experiment, settings, arm, seed, corpus, content)
    record_ = what.new_record(speaker)
    adapted = AdaptedRecogniser(base, what.spec, seed=seed_for("adapters", seed))
    adapted.to(device())
    make_deterministic()
    start = what.start(adapted.state(), adapter, adapter_description)
    examples = Examples(read_cuts(cuts), base)
    folds = read_splits(splits, {cut.id for cut in examples.cuts})
    checkpoints = Checkpoints(
        work,
        identity(settings, seed, examples.cuts, cuts, splits, weights, adapter),
        seconds=checkpoint_seconds,
    )
    states = []
    for index in range(len(folds)):
        adapted.load_state(start)
        torch.manual_seed(seed_for("dropout", seed, speaker, index))
        task = what.fold_task(adapted, examples, speaker, folds, index, record_)
        scores = run(task, record_, checkpoints.scope(f"fold{index}"))
        states.append(adapted.state())
        for name, value in scores.items():
            record_.score(f"{task.curve}dev/{name}", value)
    what.write(speaker, states, record_, out_adapter, out_description, record)
    checkpoints.remove()


@dataclass(frozen=True)
class Adaptation:
    """What the adaptations of an arm to several speakers have alike; for the meaning of fields see `adapt`.

    `content` is the description of the model.
    """

    experiment: str
    settings: Mapping[str, Any]
    arm: str
    seed: int
    corpus: str | None
    content: Mapping[str, Any]

    @property
    def spec(self) -> AdapterSpec:
        """What is put into the model."""
        return adapter_spec(self.settings["arm"], self.settings["adapters"])

    def new_record(self, speaker: str) -> RunRecord:
        """The run record of a speaker, whose clock starts now."""
        return RunRecord(
            stage="adapt",
            experiment=self.experiment,
            arm=self.arm,
            speaker=speaker,
            seed=self.seed,
            settings=self.settings,
            corpus=self.corpus,
            family=self.content["family"],
        )

    def start(self, fresh: State, adapter: Path | None, description: Path | None) -> State:
        """The state that every fold starts from: `fresh`, or the pre-trained one.

        Raises SamlError where the arm is pre-trained and no fitting adapter is given.
        """
        if not self.settings["arm"].get("pretrained", False):
            return fresh
        if adapter is None or description is None:
            raise SamlError(f"arm {self.arm} is pre-trained: give --adapter and --adapter-description")
        stored = load_adapter(adapter, description, self.content)
        refuse_other_spec(stored, self.spec, adapter, self.arm)
        return stored.folds[0]

    def fold_task(
        self,
        adapted: AdaptedRecogniser,
        examples: Examples,
        speaker: str,
        folds: Sequence[Fold],
        index: int,
        record: RunRecord,
        updates: Updates | None = None,
    ) -> Task:
        """The training of fold `index` of a speaker; `updates` are others than those of one by itself."""
        prefix = f"fold{index}/" if len(folds) > 1 else ""
        enrolment = self.settings["partition"]["enrolment"]
        how = section_for_arm(self.settings, "adaptation")
        train = examples.choose(enrolled(folds[index].train, enrolment, speaker))
        record.score(f"{prefix}train/utterances", len(train))
        task = adapter_task(
            adapted,
            examples,
            name=f"adapting {self.arm} to {speaker} {prefix}".rstrip("/ "),
            train=train,
            dev=examples.choose(folds[index].dev),
            utterances=how["passes"] * len(train),
            how=how,
            seed=self.seed,
            updates=updates,
        )
        task.curve = prefix
        return task

    def write(
        self,
        speaker: str,
        states: Sequence[State],
        run_record: RunRecord,
        adapter: Path,
        description: Path,
        record: Path,
    ) -> None:
        """Write a speaker's adapter, a state for each fold, its description and the run record."""
        origin = {"arm": self.arm, "speaker": speaker, "seed": self.seed, "settings": dict(self.settings)}
        save_adapter(adapter, description, spec=self.spec, folds=states, base=self.content, origin=origin)
        run_record.size("adapter", adapter.stat().st_size)
        run_record.file(adapter)
        run_record.file(description)
        run_record.write(record)
