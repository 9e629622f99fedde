"""Decoding and counting errors: an arm and a seed, for one target speaker or many in the same batches."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import State, StoredAdapter
from saml.crowd.recogniser import CrowdRecogniser
from saml.decoding.transcription import Search, best_texts, load_given
from saml.evaluation.wer import count, error_rate, pool
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import load_model
from saml.runtime.errors import SamlError, about
from saml.runtime.files import write_atomically
from saml.runtime.progress import Progress
from saml.tracking import RunRecord
from saml.training.common import device, make_deterministic, read_cuts, read_splits


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """A target speaker, or the held-out pool alone: inputs and outputs, each as `decode` has it."""

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
    """An utterance to decode: for which part and fold."""

    part: str
    fold: int
    cut: MonoCut


@dataclass(frozen=True)
class _Given:
    """What was read of a `Decoding`: its rows, and its adapter's states: of each fold, or one for all."""

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
    heldout_cuts: Path | None = None,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    adaptation_record: Path | None = None,
    corpus: str | None = None,
) -> None:
    """The stage: decode a speaker's test parts and the held-out pool, whichever are given, and count errors.

    With folds each test part is decoded by its own fold's adapter, all in the same batches; the held-out pool
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
        heldout_cuts: input, the held-out pool.
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
        heldout_cuts=heldout_cuts,
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
    heldout_cuts: Path | None = None,
    corpus: str | None = None,
) -> None:
    """Decode the speech of many speakers in the same batches, each utterance with its own speaker's adapter.

    What is written of a speaker is what is written of one alone, but for rounding. Who fails does not stop
    the others: their files are written before the error is raised.

    Args:
        decodings: of whom.
        experiment: as for `decode`, and so are all that follow.
        settings: the config's sections.
        arm: name of the arm.
        seed: the seed of the adapters.
        weights: input, the model.
        description: input, its JSON.
        heldout_cuts: input, the held-out pool, which everybody's adapter decodes.
        corpus: name of the corpus, for the records.

    Raises:
        SamlError: the speakers who failed, each with the reason: a file is missing or damaged, an adapter is
            of another model, arm or division of the speech.
    """
    base, content = load_model(weights, description)
    make_deterministic()
    search = Search(**settings["decoding"])
    if search.ctc_weight and not base.has_ctc:
        raise SamlError(
            f"arm {arm}: {weights} has no CTC head, which decoding.ctc_weight ({search.ctc_weight:g}) needs; "
            "say 0, or train a base that has one"
        )
    heldout = [] if heldout_cuts is None else read_cuts(heldout_cuts)
    given: list[_Given] = []
    failed: dict[Path, str] = {}
    for decoding in _distinct(decodings):
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
        run.shared_by(len(decodings))
        with _failing(decoding, failed):
            given.append(_read(decoding, run, heldout, content))
    recogniser, rows = _with_adapters(base, given, failed)
    heard = [one for one in given if one.files.hypotheses not in failed]
    with Progress(f"decoding {arm} {_whom(decodings)}", len(rows)) as progress:
        cuts, members = [row.cut for _, row in rows], [member for member, _ in rows]
        texts = iter(best_texts(recogniser, cuts, search, progress, members))
    for one in heard:
        own = [(row, next(texts)) for row in one.rows]
        _write(one, own, settings["scoring"]["scorers"], weights)
    if failed:
        written = f"; the other {len(heard)} are written" if heard else ""
        raise SamlError(" | ".join(failed.values()) + written)


def _whom(decodings: Sequence[Decoding]) -> str:
    return decodings[0].speaker or "heldout" if len(decodings) == 1 else f"{len(decodings)} speakers"


def _distinct(decodings: Sequence[Decoding]) -> Sequence[Decoding]:
    """Raise SamlError where nobody is there, or two would write one file."""
    files = [decoding.hypotheses for decoding in decodings]
    if not files:
        raise SamlError("there is nobody to decode; name at least one speaker")
    twice = [str(path) for path in files if files.count(path) > 1]
    if twice:
        raise SamlError(f"{twice[0]}: would be written twice; name everybody once")
    return decodings


@contextmanager
def _failing(decoding: Decoding, failed: dict[Path, str]) -> Iterator[None]:
    """Note who failed, and why."""
    try:
        yield
    except SamlError as error:
        whom = "" if decoding.speaker is None else f"speaker {decoding.speaker!r}: "
        failed[decoding.hypotheses] = f"{whom}{error}"


def _read(one: Decoding, record: RunRecord, heldout: Sequence[MonoCut], content: Mapping[str, Any]) -> _Given:
    """What is to be done of a `Decoding`."""
    tests, heard = _tests(one)
    if not tests and not heldout:
        raise SamlError("nothing to decode: give --speaker with --cuts and --splits, or --heldout-cuts")
    if one.adaptation_record is not None:
        record.include(one.adaptation_record)
    rows = [_Row("test", fold, cut) for fold, cuts in enumerate(tests) for cut in cuts]
    rows += [_Row("heldout", 0, cut) for cut in heldout]
    adapter = load_given(one.adapter, one.adapter_description, content)
    if adapter is None:
        return _Given(one, record, rows, None, [])
    # What is nobody's is the same for all folds, and the held-out pool is the first fold's.
    many = tests and adapter.is_personal
    return _Given(one, record, rows, adapter, adapter.states_for(heard) if many else adapter.folds[:1])


def _tests(one: Decoding) -> tuple[list[list[MonoCut]], list[str]]:
    """The test part of each of the speaker's folds, and digests of what adapting to these folds hears."""
    if one.speaker is None:
        return [], []
    if one.cuts is None or one.splits is None:
        raise SamlError(f"decoding speaker {one.speaker} needs --cuts and --splits")
    by_id = {cut.id: cut for cut in read_cuts(one.cuts)}
    folds = read_splits(one.splits, by_id)
    return [[by_id[utterance] for utterance in fold.test] for fold in folds], [fold.heard for fold in folds]


def _with_adapters(
    base: Recogniser, given: Sequence[_Given], failed: dict[Path, str]
) -> tuple[Recogniser, list[tuple[int, _Row]]]:
    """The recogniser to decode with: bare, with the only adapter, or a crowd; and rows with their members.

    Who has no adapter, or not one of the first one's kind, has failed.
    """
    adapters = [one.adapter for one in given if one.adapter is not None]
    if not adapters:
        as_module(base).to(device())
        return base, [(0, row) for one in given for row in one.rows]
    first = adapters[0]
    count = sum(len(one.states) for one in given)
    recogniser: AdaptedRecogniser
    if count == 1:
        recogniser = AdaptedRecogniser(base, first.spec, seed=0)
    else:
        recogniser = CrowdRecogniser(base, first.spec, members=count, seed=0)
    rows: list[tuple[int, _Row]] = []
    member = 0
    for one in given:
        with _failing(one.files, failed):
            _refuse_other_kind(one.adapter, first)
            _load(recogniser, one, member)
            many = len(one.states) > 1
            rows += [(member + (row.fold if many else 0), row) for row in one.rows]
        member += len(one.states)
    recogniser.to(device())
    return recogniser, rows


def _refuse_other_kind(adapter: StoredAdapter | None, first: StoredAdapter) -> None:
    if adapter is None:
        raise SamlError(f"has no adapter, and others have ({first.path}): decode without apart")
    if adapter.spec != first.spec:
        raise SamlError(f"{adapter.path}: is of another kind than {first.path}; decode it alone")


def _load(recogniser: AdaptedRecogniser, one: _Given, member: int) -> None:
    """Load a speaker's states, counted from `member`. Raises SamlError where one does not fit."""
    assert one.adapter is not None
    with about(one.adapter.path):
        for index, state in enumerate(one.states):
            if isinstance(recogniser, CrowdRecogniser):
                recogniser.load_state_of(member + index, state)
            else:
                recogniser.load_state(state)


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
    said = row.cut.supervisions[0]
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
    for part in ("test", "heldout"):
        chosen = [line["counts"] for line in lines if line["part"] == part]
        for scorer in chosen[0] if chosen else ():
            suffix = "" if part == "test" else "/heldout"
            rate = error_rate(pool(counts[scorer]["words"] for counts in chosen))
            run.score(f"wer/{scorer}{suffix}", rate)
