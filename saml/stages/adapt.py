"""Speaker adaptation: an arm and a seed, for one target speaker or several in the same batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser, State
from saml.adapters.compress import collapse
from saml.adapters.spec import AdapterSpec
from saml.adapters.store import load_adapter, refuse_other_spec, save_adapter
from saml.config.settings import AdaptationSettings, typed
from saml.corpora.manifests import read_cuts
from saml.corpora.split_files import Fold, read_splits
from saml.corpora.splits import enrolled
from saml.models.recogniser import Recogniser
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic, seed_for
from saml.runtime.errors import Diverged, SamlError
from saml.stages.routes import mean_routes
from saml.tracking import RunRecord
from saml.training.adapter_training import adapter_spec, adapter_task, fresh_adapters, train_adapters
from saml.training.checkpoints import Checkpoints, identity
from saml.training.data import Examples
from saml.training.task import Progression, Task


@dataclass(frozen=True)
class Speaker:
    """A target speaker with the paths of its inputs and outputs.

    Attributes:
        speaker: the id.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds.
        out_adapter: output.
        out_description: output, its JSON.
        record: output, the run record of the adaptation, which decoding includes in its own.
    """

    speaker: str
    cuts: Path
    splits: Path
    out_adapter: Path
    out_description: Path
    record: Path


@dataclass(frozen=True)
class _Inputs:
    """A speaker with what was read."""

    files: Speaker
    cuts: list[MonoCut]
    folds: list[Fold]
    record: RunRecord


def adapt(
    *,
    speakers: Sequence[Speaker],
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    weights: Path,
    description: Path,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    work: Path | None = None,
    checkpoint_seconds: float = float("inf"),
    corpus: str | None = None,
) -> None:
    """Train an arm's adapter on each speaker's train part; the best epoch on the dev part is kept.

    The state before the first epoch is a candidate too: adaptation never has to make things worse on dev.
    Every fold of every speaker has an adapter of its own, and all are trained in the same steps. A speaker's
    files are those of adapting to that speaker alone, equal but for rounding where dropout is off; with
    dropout, several speakers draw other random numbers than one. A speaker whose training diverges stops
    alone: the files of the others are written before the error is raised.

    With `collapse` the pre-trained mixture becomes one LoRA first, with the mean route of each fold's
    training utterances, and that LoRA is trained.

    Args:
        speakers: the target speakers.
        experiment: name of the experiment.
        settings: the config's sections `arm` (the entry of this arm), `adapters` and `adaptation`, and of
            `partition` the key `enrolment`: at most so many training utterances (null: all).
        arm: name of the arm.
        seed: decides fresh adapters and the order of the utterances; all arms see the same order.
        weights: input, the model.
        description: input, its JSON.
        adapter: input, the pre-trained adapter; needed by an arm that is pre-trained.
        adapter_description: input, its JSON.
        work: folder of checkpoints until the job is done.
        checkpoint_seconds: the time between checkpoints; there is one after each epoch in any case.
        corpus: name of the corpus, for the records.

    Raises:
        Diverged: the speakers whose losses or weights are not finite, each with the reason.
        SamlError: a file is missing or damaged, a speaker is given twice, or two share an utterance id.
        Interrupted: the job was asked to stop; started again, it resumes.
    """
    base, content = load_model(weights, description)
    how, spec = typed(AdaptationSettings, settings), adapter_spec(settings)
    inputs = []
    for speaker in _distinct(speakers):
        record = RunRecord(
            stage="adapt",
            experiment=experiment,
            arm=arm,
            speaker=speaker.speaker,
            seed=seed,
            settings=settings,
            corpus=corpus,
            family=content["family"],
        )
        record.shared_by(len(speakers))
        inputs.append(_read(speaker, record))
    examples = Examples(_all_cuts(inputs), base)
    enrolment = settings["partition"]["enrolment"]
    starts: list[State] = []
    if settings["arm"]["pretrained"]:
        start = _start(arm, spec, adapter, adapter_description, content)
        starts = [start for one in inputs for _ in one.folds]
        if how.collapse:
            spec, starts = _collapsed(base, spec, start, examples, inputs, enrolment)
            base, content = load_model(weights, description)  # the other has the mixture in it
    adapted = fresh_adapters(base, spec, seed, adapters=sum(len(one.folds) for one in inputs))
    for index, start in enumerate(starts):
        adapted.load_state(start, adapter=index)
    tasks = _tasks(adapted, examples, inputs, how, arm, enrolment, seed)
    files = [path for one in inputs for path in (one.files.cuts, one.files.splits)]
    job = identity(settings, seed, examples.cuts, *files, weights, adapter)
    checkpoints = Checkpoints(
        work, {**job, "tasks": [task.name for task in tasks]}, seconds=checkpoint_seconds
    )
    progressions = iter(
        train_adapters(
            adapted,
            examples,
            tasks,
            how,
            checkpoints,
            name=f"adapting {arm} to {_names(inputs)}",
            split_steps="always",
            dropout_seed=_dropout_seed(seed, inputs),
        )
    )
    results = [[next(progressions) for _ in one.folds] for one in inputs]
    origin = {"arm": arm, "seed": seed, "settings": dict(settings)}
    for one, own in zip(inputs, results, strict=True):
        if not any(progression.failed for progression in own):
            _write(one, own, spec, content, origin)
    _refuse_failed(results)
    checkpoints.remove()


def _names(inputs: Sequence[_Inputs]) -> str:
    return inputs[0].files.speaker if len(inputs) == 1 else f"{len(inputs)} speakers"


def _distinct(speakers: Sequence[Speaker]) -> Sequence[Speaker]:
    names = [speaker.speaker for speaker in speakers]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise SamlError(f"speaker {twice[0]!r} is given twice; name every speaker once")
    if not names:
        raise SamlError("there is no speaker to adapt to; name at least one")
    return speakers


def _read(speaker: Speaker, record: RunRecord) -> _Inputs:
    cuts = read_cuts(speaker.cuts)
    folds = read_splits(speaker.splits, {cut.id for cut in cuts}, untested=True)
    return _Inputs(speaker, cuts, folds, record)


def _all_cuts(inputs: Sequence[_Inputs]) -> list[MonoCut]:
    """All speakers' cuts. Raises SamlError where two have one id, by which features are looked up."""
    owners: dict[str, str] = {}
    for one in inputs:
        for cut in one.cuts:
            other = owners.setdefault(cut.id, one.files.speaker)
            if other != one.files.speaker:
                raise SamlError(
                    f"speakers {other!r} and {one.files.speaker!r} both have an utterance {cut.id!r}: "
                    "adapt to them one by one, or give it another id"
                )
    return [cut for one in inputs for cut in one.cuts]


def _start(
    arm: str, spec: AdapterSpec, adapter: Path | None, description: Path | None, content: Mapping[str, Any]
) -> State:
    """The pre-trained state of the arm. Raises SamlError where none is given, or another arm's."""
    if adapter is None or description is None:
        raise SamlError(f"arm {arm} is pre-trained: give --adapter and --adapter-description")
    stored = load_adapter(adapter, description, content)
    refuse_other_spec(stored, spec, adapter, arm)
    return stored.folds[0]


def _collapsed(
    base: Recogniser,
    spec: AdapterSpec,
    start: State,
    examples: Examples,
    inputs: Sequence[_Inputs],
    enrolment: int | None,
) -> tuple[AdapterSpec, list[State]]:
    """The one LoRA that the mixture is at the mean route of each fold's training utterances."""
    make_deterministic()
    mixture = AdaptedRecogniser(base, spec, seed=0)
    mixture.to(device())
    mixture.load_state(start)
    states: list[State] = []
    for one in inputs:
        for fold in one.folds:
            train = examples.choose(enrolled(fold.train, enrolment, one.files.speaker))
            spec, state = collapse(mixture, mean_routes(mixture, train))
            states.append(state)
    return spec, states


def _tasks(
    adapted: AdaptedRecogniser,
    examples: Examples,
    inputs: Sequence[_Inputs],
    how: AdaptationSettings,
    arm: str,
    enrolment: int | None,
    seed: int,
) -> list[Task]:
    """A task for every fold of every speaker, in order."""
    tasks: list[Task] = []
    for one in inputs:
        speaker = one.files.speaker
        for index, fold in enumerate(one.folds):
            curve = f"fold{index}/" if len(one.folds) > 1 else ""
            train = examples.choose(enrolled(fold.train, enrolment, speaker))
            one.record.score(f"{curve}train/utterances", len(train))
            task = adapter_task(
                adapted,
                len(tasks),
                how,
                name=f"adapting {arm} to {speaker} {curve}".rstrip("/ "),
                record=one.record,
                curve=curve,
                train=train,
                dev=examples.choose(fold.dev),
                utterances=how.epochs * len(train),
                seed=seed,
            )
            tasks.append(task)
    return tasks


def _dropout_seed(seed: int, inputs: Sequence[_Inputs]) -> int:
    """Decided by the speakers and the number of their folds."""
    folds = [(one.files.speaker, index) for one in inputs for index in range(len(one.folds))]
    return seed_for("dropout", seed, *chain.from_iterable(folds))


def _write(
    one: _Inputs,
    progressions: Sequence[Progression],
    spec: AdapterSpec,
    content: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> None:
    """A speaker's adapter with a state for each fold, its description and the run record."""
    for progression in progressions:
        for name, value in progression.kept[0].dev.items():
            one.record.score(f"{progression.task.curve}dev/{name}", value)
    files = one.files
    own = {"speaker": files.speaker, "trained_on": [fold.digest for fold in one.folds]}
    states = [progression.kept[0].state for progression in progressions]
    save_adapter(
        files.out_adapter,
        files.out_description,
        spec=spec,
        folds=states,
        base=content,
        origin={**origin, **own},
    )
    one.record.size("adapter", files.out_adapter.stat().st_size)
    one.record.file(files.out_adapter)
    one.record.file(files.out_description)
    one.record.write(files.record)


def _refuse_failed(results: Sequence[Sequence[Progression]]) -> None:
    failed = [progression.failed for own in results for progression in own if progression.failed]
    if failed:
        rest = sum(not any(progression.failed for progression in own) for own in results)
        written = f"; the other {rest} are written" if rest else ""
        raise Diverged(" | ".join(failed) + written)
