"""What adaptations of an arm have alike: settings, where they start, a fold's training, what is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saml.adapters.adapted import AdaptedRecogniser, AdapterSpec, adapter_spec
from saml.adapters.store import State, load_adapter, refuse_other_spec, save_adapter
from saml.corpora.splits import enrolled
from saml.runtime.errors import SamlError
from saml.tracking import RunRecord
from saml.training.adapter_task import adapter_task
from saml.training.common import Fold, section_for_arm
from saml.training.data import Examples
from saml.training.engine import Task
from saml.training.optim import Updates


@dataclass(frozen=True)
class Adaptation:
    """What the adaptations of an arm to several speakers have alike; for the meaning of fields see
    `saml.stages.adapt.adapt`.

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
            utterances=how["epochs"] * len(train),
            how=how,
            seed=self.seed,
            updates=updates,
        )
        task.curve = prefix
        return task

    def write(
        self,
        speaker: str,
        folds: Sequence[Fold],
        states: Sequence[State],
        run_record: RunRecord,
        adapter: Path,
        description: Path,
        record: Path,
    ) -> None:
        """Write a speaker's adapter, a state for each fold, its description and the run record."""
        origin = {
            "arm": self.arm,
            "speaker": speaker,
            "seed": self.seed,
            "heard": [fold.heard for fold in folds],
            "settings": dict(self.settings),
        }
        save_adapter(adapter, description, spec=self.spec, folds=states, base=self.content, origin=origin)
        run_record.size("adapter", adapter.stat().st_size)
        run_record.file(adapter)
        run_record.file(description)
        run_record.write(record)
