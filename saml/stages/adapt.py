"""Speaker adaptation: an arm and a seed, for one target speaker or for many in the same batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.crowd.loop import CrowdTraining
from saml.crowd.member import Member
from saml.crowd.recogniser import CrowdRecogniser
from saml.crowd.updates import CrowdUpdates
from saml.models.store import load_model
from saml.runtime.errors import Diverged, SamlError
from saml.stages.adaptation import Adaptation
from saml.tracking import RunRecord
from saml.training.adapter_task import alternating_updates
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
from saml.training.data import Examples


@dataclass(frozen=True)
class Speaker:
    """A target speaker: name, inputs and outputs, each as `adapt` has it."""

    speaker: str
    cuts: Path
    splits: Path
    out_adapter: Path
    out_description: Path
    record: Path


@dataclass(frozen=True)
class _Given:
    """A speaker with what was read."""

    speaker: Speaker
    cuts: list[MonoCut]
    folds: list[Fold]
    record: RunRecord


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
    """Train an arm's adapter on (so much of) a speaker's train part; the best epoch on the dev part is kept.

    The state before the first epoch is a candidate too: adapting never has to make things worse on dev. Each
    fold has an adapter of its own, and all folds are trained at once.

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
        checkpoint_seconds: one is left so often; after an epoch one is left in any case.
        corpus: name of the corpus, for the record.
    """
    adapt_crowd(
        speakers=[Speaker(speaker, cuts, splits, out_adapter, out_description, record)],
        experiment=experiment,
        settings=settings,
        arm=arm,
        seed=seed,
        weights=weights,
        description=description,
        adapter=adapter,
        adapter_description=adapter_description,
        work=work,
        checkpoint_seconds=checkpoint_seconds,
        corpus=corpus,
    )


def adapt_crowd(
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
    """Adapt an arm to each of `speakers`, all in the same batches; every fold of a speaker is a member.

    What is written of a speaker is what is written of one alone, equal but for rounding where dropout is off.
    With dropout on, several speakers draw other random numbers than one. A speaker whose training
    diverges stops alone: the others' files are written before the error is raised.

    Args:
        speakers: whom to adapt to.
        experiment: as for `adapt`, and so are all that follow.
        settings: the config's sections.
        arm: name of the arm.
        seed: decides fresh adapters and the order of the speech.
        weights: input, the model.
        description: input, its JSON.
        adapter: input, the pre-trained adapter.
        adapter_description: input, its JSON.
        work: where checkpoints of the whole crowd live until the job is done.
        checkpoint_seconds: one is left so often; when everybody has ended an epoch, in any case.
        corpus: name of the corpus, for the records.

    Raises:
        Diverged: the speakers whose losses or weights are no longer finite, each with the reason.
        SamlError: a file is missing or damaged, a speaker is there twice, or two share an utterance's id.
        Interrupted: the job was asked to stop; started again, it goes on.
    """
    base, content = load_model(weights, description)
    what = Adaptation(experiment, settings, arm, seed, corpus, content)
    given = [_read(speaker, what, len(speakers)) for speaker in _distinct(speakers)]
    examples = Examples(_every_cut(given), base)
    count = sum(len(one.folds) for one in given)
    crowd = CrowdRecogniser(base, what.spec, members=count, seed=seed_for("adapters", seed))
    crowd.to(device())
    make_deterministic()
    start = what.start(crowd.state_of(0), adapter, adapter_description)
    for index in range(count):
        crowd.load_state_of(index, start)
    name = f"adapting {arm} to {_whom(given)}"
    updates = alternating_updates(crowd, section_for_arm(settings, "adaptation"), name, CrowdUpdates)
    members = _members(what, crowd, examples, given, updates)
    inputs = [path for one in given for path in (one.speaker.cuts, one.speaker.splits)]
    every = identity(settings, seed, examples.cuts, *inputs, weights, adapter)
    names = [member.task.name for members_ in members for member in members_]
    checkpoints = Checkpoints(work, {**every, "members": names}, seconds=checkpoint_seconds)
    torch.manual_seed(_dropout_seed(seed, given))
    CrowdTraining(name, crowd, list(chain.from_iterable(members)), updates).run(checkpoints)
    for one, own in zip(given, members, strict=True):
        if not any(member.failed for member in own):
            _write(what, one, own)
    _refuse_failed(members)
    checkpoints.remove()


def _whom(given: Sequence[_Given]) -> str:
    return given[0].speaker.speaker if len(given) == 1 else f"{len(given)} speakers"


def _distinct(speakers: Sequence[Speaker]) -> Sequence[Speaker]:
    names = [speaker.speaker for speaker in speakers]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise SamlError(f"speaker {twice[0]!r} is there twice; name everybody once")
    if not names:
        raise SamlError("there is no speaker to adapt to; name at least one")
    return speakers


def _read(speaker: Speaker, what: Adaptation, among: int) -> _Given:
    record = what.new_record(speaker.speaker)
    record.shared_by(among)
    cuts = read_cuts(speaker.cuts)
    folds = read_splits(speaker.splits, {cut.id for cut in cuts}, untested=True)
    return _Given(speaker, cuts, folds, record)


def _every_cut(given: Sequence[_Given]) -> list[MonoCut]:
    """All speakers' cuts. Raises SamlError where two have one id, by which features are looked up."""
    whose: dict[str, str] = {}
    for one in given:
        for cut in one.cuts:
            other = whose.setdefault(cut.id, one.speaker.speaker)
            if other != one.speaker.speaker:
                raise SamlError(
                    f"speakers {other!r} and {one.speaker.speaker!r} both have an utterance {cut.id!r}: "
                    "adapt them one by one, or give it another id"
                )
    return [cut for one in given for cut in one.cuts]


def _members(
    what: Adaptation,
    crowd: CrowdRecogniser,
    examples: Examples,
    given: Sequence[_Given],
    updates: CrowdUpdates,
) -> list[list[Member]]:
    """The members of each speaker, one a fold."""
    members: list[list[Member]] = []
    count = 0
    for one in given:
        own = []
        for fold in range(len(one.folds)):
            task = what.fold_task(crowd, examples, one.speaker.speaker, one.folds, fold, one.record, updates)
            get, set_ = partial(crowd.state_of, count), partial(crowd.load_state_of, count)
            own.append(Member(count, replace(task, get_state=get, set_state=set_), one.record))
            count += 1
        members.append(own)
    return members


def _dropout_seed(seed: int, given: Sequence[_Given]) -> int:
    """Decided by the speakers and the number of their folds."""
    folds = [(one.speaker.speaker, index) for one in given for index in range(len(one.folds))]
    return seed_for("dropout", seed, *chain.from_iterable(folds))


def _write(what: Adaptation, one: _Given, members: Sequence[Member]) -> None:
    """A speaker's files, as adapting alone leaves them."""
    for member in members:
        for name, value in member.kept[0].dev.items():
            one.record.score(f"{member.task.curve}dev/{name}", value)
    states = [member.kept[0].state for member in members]
    to = one.speaker
    what.write(to.speaker, one.folds, states, one.record, to.out_adapter, to.out_description, to.record)


def _refuse_failed(members: Sequence[Sequence[Member]]) -> None:
    failed = [member.failed for own in members for member in own if member.failed]
    if failed:
        rest = sum(not any(member.failed for member in own) for own in members)
        written = f"; the other {rest} are written" if rest else ""
        raise Diverged(" | ".join(failed) + written)
