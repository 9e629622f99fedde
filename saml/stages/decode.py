"""Decoding and error counts: an arm and a seed, for one target speaker or several in the same batches."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import State, StoredAdapter
from saml.config.settings import DecodingSettings, typed
from saml.corpora.manifests import read_cuts
from saml.corpora.split_files import read_splits
from saml.decoding.transcription import Output, best_outputs, load_given
from saml.evaluation.wer import count, error_rate, pool
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic
from saml.runtime.errors import SamlError, about
from saml.runtime.files import write_atomically
from saml.runtime.progress import Progress
from saml.tracking import RunRecord


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """A target speaker, or the held-out pool alone, with the paths of its outputs and inputs.

    Attributes:
        hypotheses: output, a JSON line per utterance, with counts.
        record: output, the run record.
        speaker: the id; None for the held-out pool alone.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds.
        adapter: input, None for the model without an adapter.
        adapter_description: input, its JSON.
        adaptation_record: input, included in `record`.
    """

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
    """An utterance to decode, with its part and fold."""

    part: str
    fold: int
    cut: MonoCut


@dataclass(frozen=True)
class _Inputs:
    """The inputs of a `Decoding`: rows, and the states of its adapter, one for each fold or one for all."""

    files: Decoding
    record: RunRecord
    rows: list[_Row]
    adapter: StoredAdapter | None
    states: list[State]


def decode(
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
    """Decode test parts and the held-out pool, whichever are given, and count errors.

    All speakers are in the same batches, each utterance with its own speaker's adapter; files equal those of
    the speaker decoded alone, but for rounding. With folds each test part is decoded by its own fold's
    adapter; the held-out pool by the first fold's, which stands for the others. A speaker that fails does not
    stop the others: their files are written before the error is raised.

    Args:
        decodings: the speakers, or the held-out pool alone, each with inputs and outputs.
        experiment: name of the experiment.
        settings: the config's sections `arm`, `decoding` and `scoring`, under those keys.
        arm: name of the arm.
        seed: the seed of the adapters (0 where nothing is adapted).
        weights: input, the model.
        description: input, its JSON.
        heldout_cuts: input, the held-out pool, which every speaker's adapter decodes.
        corpus: name of the corpus, for the records.

    Raises:
        SamlError: the speakers who failed, each with the reason: a file is missing or damaged, an adapter is
            of another model or division of the speech.
    """
    base, content = load_model(weights, description)
    make_deterministic()
    search = typed(DecodingSettings, settings)
    if search.ctc_weight and not base.has_ctc:
        raise SamlError(
            f"arm {arm}: {weights} has no CTC head, which decoding.ctc_weight ({search.ctc_weight:g}) needs; "
            "set it to 0, or train a base that has one"
        )
    heldout = [] if heldout_cuts is None else read_cuts(heldout_cuts)
    inputs: list[_Inputs] = []
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
            inputs.append(_read(decoding, run, heldout, content))
    recogniser, rows = _with_adapters(base, inputs, failed)
    decoded = [one for one in inputs if one.files.hypotheses not in failed]
    with Progress(f"decoding {arm} {_names(decodings)}", len(rows)) as progress:
        cuts, adapters = [row.cut for _, row in rows], [adapter for adapter, _ in rows]
        # A shorter context is for adapted arms: without an adapter Whisper repeats itself there.
        unadapted = not settings["arm"]["adapted"]
        outputs = iter(best_outputs(recogniser, cuts, search, progress, adapters, whole_context=unadapted))
    for one in decoded:
        own = [(row, next(outputs)) for row in one.rows]
        _write(one, own, settings["scoring"]["scorers"], weights)
    if failed:
        written = f"; the other {len(decoded)} are written" if decoded else ""
        raise SamlError(" | ".join(failed.values()) + written)


def _names(decodings: Sequence[Decoding]) -> str:
    return decodings[0].speaker or "heldout" if len(decodings) == 1 else f"{len(decodings)} speakers"


def _distinct(decodings: Sequence[Decoding]) -> Sequence[Decoding]:
    """Raise SamlError where there are no speakers, or two would write one file."""
    files = [decoding.hypotheses for decoding in decodings]
    if not files:
        raise SamlError("there is no speaker to decode; name at least one")
    twice = [str(path) for path in files if files.count(path) > 1]
    if twice:
        raise SamlError(f"{twice[0]}: would be written twice; name every speaker once")
    return decodings


@contextmanager
def _failing(decoding: Decoding, failed: dict[Path, str]) -> Iterator[None]:
    """Record a failure and its reason."""
    try:
        yield
    except SamlError as error:
        name = "" if decoding.speaker is None else f"speaker {decoding.speaker!r}: "
        failed[decoding.hypotheses] = f"{name}{error}"


def _read(
    one: Decoding, record: RunRecord, heldout: Sequence[MonoCut], content: Mapping[str, Any]
) -> _Inputs:
    """Read and check the inputs of a `Decoding`."""
    tests, digests = _tests(one)
    if not tests and not heldout:
        raise SamlError("nothing to decode: give --speakers with --cuts and --splits, or --heldout-cuts")
    if one.adaptation_record is not None:
        record.include(one.adaptation_record)
    rows = [_Row("test", fold, cut) for fold, cuts in enumerate(tests) for cut in cuts]
    rows += [_Row("heldout", 0, cut) for cut in heldout]
    adapter = load_given(one.adapter, one.adapter_description, content)
    if adapter is None:
        return _Inputs(one, record, rows, None, [])
    # A pre-trained adapter has one state for all folds; the first fold's adapter decodes the held-out pool.
    many = tests and adapter.is_personal
    return _Inputs(one, record, rows, adapter, adapter.states_for(digests) if many else adapter.folds[:1])


def _tests(one: Decoding) -> tuple[list[list[MonoCut]], list[str]]:
    """The test part of each of the speaker's folds, and the digests of their train and dev parts."""
    if one.speaker is None:
        return [], []
    if one.cuts is None or one.splits is None:
        raise SamlError(f"decoding speaker {one.speaker} needs --cuts and --splits")
    by_id = {cut.id: cut for cut in read_cuts(one.cuts)}
    folds = read_splits(one.splits, by_id)
    return [[by_id[utterance] for utterance in fold.test] for fold in folds], [fold.digest for fold in folds]


def _with_adapters(
    base: Recogniser, inputs: Sequence[_Inputs], failed: dict[Path, str]
) -> tuple[Recogniser, list[tuple[int, _Row]]]:
    """The recogniser to decode with, and the rows, each with the index of its adapter.

    A speaker without an adapter, or with one of another kind than the first, has failed.
    """
    adapters = [one.adapter for one in inputs if one.adapter is not None]
    if not adapters:
        as_module(base).to(device())
        return base, [(0, row) for one in inputs for row in one.rows]
    first = adapters[0]
    count = sum(len(one.states) for one in inputs)
    recogniser = AdaptedRecogniser(base, first.spec, seed=0, adapters=count)
    rows: list[tuple[int, _Row]] = []
    index = 0
    for one in inputs:
        with _failing(one.files, failed):
            _refuse_other_kind(one.adapter, first)
            _load(recogniser, one, index)
            many = len(one.states) > 1
            rows += [(index + (row.fold if many else 0), row) for row in one.rows]
        index += len(one.states)
    recogniser.to(device())
    return recogniser, rows


def _refuse_other_kind(adapter: StoredAdapter | None, first: StoredAdapter) -> None:
    if adapter is None:
        raise SamlError(f"has no adapter, and others have ({first.path}): decode it in a job of its own")
    if adapter.spec != first.spec:
        raise SamlError(f"{adapter.path}: is of another kind than {first.path}; decode it alone")


def _load(recogniser: AdaptedRecogniser, one: _Inputs, first: int) -> None:
    """Load a speaker's states from adapter `first` on. Raises SamlError where one does not fit."""
    assert one.adapter is not None
    with about(one.adapter.path):
        for index, state in enumerate(one.states):
            recogniser.load_state(state, adapter=first + index)


def _write(
    one: _Inputs, decoded: Sequence[tuple[_Row, Output]], scorers: Sequence[str], weights: Path
) -> None:
    """A speaker's hypotheses with their counts, and its run record."""
    lines = [_line(row, output, scorers) for row, output in decoded]
    lines.sort(key=lambda line: (line["part"], line["fold"], line["utterance"]))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(one.files.hypotheses, text.encode())
    _note(one.record, lines, weights)
    one.record.file(one.files.hypotheses)
    one.record.write(one.files.record)


def _line(row: _Row, output: Output, scorers: Iterable[str]) -> dict[str, Any]:
    supervision = row.cut.supervisions[0]
    return {
        "utterance": row.cut.id,
        "speaker": supervision.speaker,
        "part": row.part,
        "fold": row.fold,
        "reference": supervision.text,
        "hypothesis": output.text,
        "guard": output.guard,
        "counts": count(supervision.text, output.text, scorers),
    }


def _note(run: RunRecord, lines: Sequence[Mapping[str, Any]], weights: Path) -> None:
    """Add pooled word error rates and the size of the model to the record."""
    run.size("model", weights.stat().st_size)
    for part in ("test", "heldout"):
        chosen = [line["counts"] for line in lines if line["part"] == part]
        if chosen and part == "test":
            run.score("looped", sum(line["part"] == part and bool(line["guard"]) for line in lines))
        for scorer in chosen[0] if chosen else ():
            suffix = "" if part == "test" else "/heldout"
            rate = error_rate(pool(counts[scorer]["words"] for counts in chosen))
            run.score(f"wer/{scorer}{suffix}", rate)
