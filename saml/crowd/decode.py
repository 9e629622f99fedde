"""Decoding and counting errors: an arm and a seed, for one target speaker or many in the same batches."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import State, StoredAdapter, load_adapter
from saml.crowd.recogniser import CrowdRecogniser
from saml.decoding import Search, best_texts
from saml.errors import SamlError
from saml.files import write_atomically
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import load_model
from saml.progress import Progress
from saml.scoring import count, error_rate, pool
from saml.tracking import RunRecord
from saml.training.common import device, make_deterministic, read_cuts, read_splits


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """A target speaker, or nobody and the general pool alone: inputs and outputs, each as `decode` has it."""

    hypotheses: Path
    record: Path
    speaker: str | None = None
    cuts: Path | None = None
    splits: Path | None = None
    adapter: Path | None = None
    adapter_description: Path | None = None
    adaptation_record: Path | None = None


@dataclass(frozen=True)
class _Row:
    """An utterance to decode: for which part and fold, by which member's adapter."""

    part: str
    fold: int
    cut: MonoCut
    member: int


@dataclass(frozen=True)
class _Given:
    """What was read of a `Decoding`: its rows, and the adapters of its members."""

    files: Decoding
    record: RunRecord
    rows: list[_Row]
    adapter: StoredAdapter | None
    states: list[State]


def decode(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    weights: Path,
    description: Path,
    hypotheses: Path,
    record: Path,
    speaker: str | None = None,
    cuts: Path | None = None,
    splits: Path | None = None,
    general_cuts: Path | None = None,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    adaptation_record: Path | None = None,
    corpus: str | None = None,
) -> None:
    """The stage: decode a speaker's test parts and the general pool, whichever are given, and count errors.

    With folds each test part is decoded by its own fold's adapter, all in the same batches; the general pool
    by the first fold's, which stands for the others.

    Args:
        experiment: name of the experiment.
        settings: the config's sections `arm`, `decoding` and `scoring`, under those keys.
        arm: name of the arm.
        seed: the seed of the adapter (0 where nothing is adapted).
        weights: input, the model.
        description: input, its JSON.
        hypotheses: output, one JSON line an utterance, with counts.
        record: output, the run record.
        speaker: whose test parts; needs `cuts` and `splits`.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds.
        general_cuts: input, the general pool.
        adapter: input, the adapter.
        adapter_description: input, its JSON.
        adaptation_record: input, the adaptation's record, taken over into `record`.
        corpus: name of the corpus, for the record.
    """
    one = Decoding(
        hypotheses=hypotheses,
        record=record,
        speaker=speaker,
        cuts=cuts,
        splits=splits,
        adapter=adapter,
        adapter_description=adapter_description,
        adaptation_record=adaptation_record,
    )
    decode_crowd(
        decodings=[one],
        experiment=experiment,
        settings=settings,
        arm=arm,
        seed=seed,
        weights=weights,
        description=description,
        general_cuts=general_cuts,
        corpus=corpus,
    )


def decode_crowd(
    *,
    decodings: Sequence[Decoding],
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    weights: Path,
    description: Path,
    general_cuts: Path | None = None,
    corpus: str | None = None,
) -> None:
    """Decode the speech of many speakers in the same batches, each utterance with its own speaker's adapter.

    What is written of a speaker is what is written of one alone, but for rounding.

    Args:
        decodings: of whom.
        experiment: as for `decode`, and so are all that follow.
        settings: the config's sections.
        arm: name of the arm.
        seed: the seed of the adapters.
        weights: input, the model.
        description: input, its JSON.
        general_cuts: input, the general pool, which everybody's adapter decodes.
        corpus: name of the corpus, for the records.

    Raises:
        SamlError: a file is missing or damaged, an adapter is of another model or division.
    """
    base, content = load_model(weights, description)
    make_deterministic()
    search = Search(**settings["decoding"])
    if search.ctc_weight and not base.has_ctc:
        raise SamlError(
            f"arm {arm}: {weights} has no CTC head, which decoding.ctc_weight ({search.ctc_weight:g}) needs; "
            "say 0, or train a base that has one"
        )
    general = [] if general_cuts is None else read_cuts(general_cuts)
    given: list[_Given] = []
    for decoding in decodings:
        run = RunRecord(
            stage="decode",
            experiment=experiment,
            arm=arm,
            speaker=decoding.speaker,
            seed=seed,
            settings=settings,
            corpus=corpus,
            family=content["family"],
        )
        first = sum(len(one.states) for one in given)
        given.append(_read(decoding, run, general, content, first))
    recogniser = _with_adapters(base, given)
    rows = [row for one in given for row in one.rows]
    with Progress(f"decoding {arm} {_whom(decodings)}", len(rows)) as progress:
        cuts, members = [row.cut for row in rows], [row.member for row in rows]
        texts = iter(best_texts(recogniser, cuts, search, progress, members))
    for one in given:
        own = [(row, next(texts)) for row in one.rows]
        _write(one, own, settings["scoring"]["scorers"], weights)


def _whom(decodings: Sequence[Decoding]) -> str:
    return decodings[0].speaker or "general" if len(decodings) == 1 else f"{len(decodings)} speakers"


def _read(
    one: Decoding, record: RunRecord, general: Sequence[MonoCut], content: Mapping[str, Any], first: int
) -> _Given:
    """What is to be done of a `Decoding` whose members are counted from `first`."""
    tests = _tests(one)
    if not tests and not general:
        raise SamlError("nothing to decode: give --speaker with --cuts and --splits, or --general-cuts")
    if one.adaptation_record is not None:
        record.include(one.adaptation_record)
    adapter, states = None, list[State]()
    if one.adapter is not None:
        if one.adapter_description is None:
            raise SamlError("--adapter needs --adapter-description")
        adapter = load_adapter(one.adapter, one.adapter_description, content)
        states = adapter.states_for(len(tests)) if tests else adapter.folds[:1]
    rows = [_Row("test", fold, cut, first + fold) for fold, cuts in enumerate(tests) for cut in cuts]
    return _Given(one, record, rows + [_Row("general", 0, cut, first) for cut in general], adapter, states)


def _tests(one: Decoding) -> list[list[MonoCut]]:
    """The test part of each of the speaker's folds."""
    if one.speaker is None:
        return []
    if one.cuts is None or one.splits is None:
        raise SamlError(f"decoding speaker {one.speaker} needs --cuts and --splits")
    by_id = {cut.id: cut for cut in read_cuts(one.cuts)}
    return [[by_id[utterance] for utterance in fold.test] for fold in read_splits(one.splits, by_id)]


def _with_adapters(base: Recogniser, given: Sequence[_Given]) -> Recogniser:
    """The recogniser to decode with: bare, with the only adapter, or a crowd with all of them.

    Raises SamlError where adapters are of different kinds.
    """
    adapters = [one.adapter for one in given if one.adapter is not None]
    if not adapters:
        as_module(base).to(device())
        return base
    spec = adapters[0].spec
    for one in given:
        if one.adapter is None or one.adapter.spec != spec:
            path = one.files.hypotheses if one.adapter is None else one.adapter.path
            raise SamlError(
                f"{path}: its adapter is of another kind than {adapters[0].path}; decode it alone"
            )
    states = [state for one in given for state in one.states]
    if len(states) == 1:
        alone = AdaptedRecogniser(base, spec, seed=0)
        alone.load_state(states[0])
        alone.to(device())
        return alone
    crowd = CrowdRecogniser(base, spec, members=len(states), seed=0)
    for member, state in enumerate(states):
        crowd.load_state_of(member, state)
    crowd.to(device())
    return crowd


def _write(one: _Given, decoded: Sequence[tuple[_Row, str]], scorers: Sequence[str], weights: Path) -> None:
    """A speaker's hypotheses with their counts, and its run record."""
    lines = [_line(row, text, scorers) for row, text in decoded]
    lines.sort(key=lambda line: (line["part"], line["fold"], line["utterance"]))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(one.files.hypotheses, text.encode())
    _note(one.record, lines, weights)
    one.record.file(one.files.hypotheses)
    one.record.write(one.files.record)


def _line(row: _Row, hypothesis: str, scorers: Iterable[str]) -> dict[str, Any]:
    (said,) = row.cut.supervisions
    return {
        "utterance": row.cut.id,
        "speaker": said.speaker,
        "part": row.part,
        "fold": row.fold,
        "reference": said.text,
        "hypothesis": hypothesis,
        "counts": count(said.text, hypothesis, scorers),
    }


def _note(run: RunRecord, lines: Sequence[Mapping[str, Any]], weights: Path) -> None:
    """Pooled word error rates of what was decoded, and the size of the model, into the record."""
    run.size("model", weights.stat().st_size)
    for part in ("test", "general"):
        chosen = [line["counts"] for line in lines if line["part"] == part]
        for scorer in chosen[0] if chosen else ():
            suffix = "" if part == "test" else "/general"
            rate = error_rate(pool(counts[scorer]["words"] for counts in chosen))
            run.score(f"wer/{scorer}{suffix}", rate)
