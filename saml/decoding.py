"""Batched beam search, and the stage that decodes and counts."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import StoredAdapter, load_adapter
from saml.beam import Rules, find
from saml.ctc_prefix import JointScores, PrefixScorer
from saml.encoder import encoded_batches
from saml.errors import SamlError
from saml.files import write_atomically
from saml.models.recogniser import Encoded, Recogniser, as_module
from saml.models.store import load_model
from saml.progress import Progress
from saml.scoring import count, error_rate, pool
from saml.tracking import RunRecord
from saml.training.common import device, make_deterministic, read_cuts, read_splits


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to decode: the config's `decoding` section.

    `ctc_weight` is the share of the CTC head's scores in the search; without any, it is the decoder's alone.
    """

    beams: int
    batch_seconds: float
    max_tokens_per_second: float
    ctc_weight: float = 0.0


@torch.inference_mode()
def transcribe(
    recogniser: Recogniser, cuts: Sequence[MonoCut], search: Search, progress: Progress | None = None
) -> dict[str, str]:
    """The best hypothesis of every cut by its id.

    Batches are cut by length; encoder, routes and cross-attention keys are computed once an utterance (with
    `decoder_routing: input` the decoder's routes and keys for each beam, as it goes).
    Raises SamlError where CTC scores are wanted and there is no CTC head.
    """
    tokeniser = recogniser.tokeniser
    texts: dict[str, str] = {}
    for batch, encoded in encoded_batches(recogniser, cuts, max_seconds=search.batch_seconds):
        most = recogniser.max_tokens - len(tokeniser.prompt)
        rules = Rules(
            beams=search.beams,
            room=[min(most, 10 + math.ceil(search.max_tokens_per_second * cut.duration)) for cut in batch],
            prompt=tokeniser.prompt,
            end=tokeniser.end,
            never=tokeniser.never,
            never_first=tokeniser.never_first,
        )
        found = find(recogniser, encoded, rules, _joint(recogniser, encoded, search))
        for cut, hypotheses in zip(batch, found, strict=True):
            texts[cut.id] = tokeniser.decode([*tokeniser.prompt, *hypotheses[0].tokens])
        if progress is not None:
            progress.update(progress.done + len(batch))
    return texts


def _joint(recogniser: Recogniser, encoded: Encoded, search: Search) -> JointScores | None:
    """What makes a batch's search joint with CTC; None where it is the decoder's alone."""
    if not search.ctc_weight:
        return None
    tokeniser = recogniser.tokeniser
    scorer = PrefixScorer(recogniser.ctc_logits(encoded), encoded.mask.sum(dim=1), tokeniser.pad)
    return JointScores(
        scorer,
        prompt=len(tokeniser.prompt),
        end=tokeniser.end,
        weight=search.ctc_weight,
        normalise=search.beams == 1,
    )


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

    With folds each test part is decoded by its own fold's adapter; the general pool by the first fold's,
    which stands for the others.

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
    base, content = load_model(weights, description)
    run = RunRecord(
        stage="decode",
        experiment=experiment,
        arm=arm,
        speaker=speaker,
        seed=seed,
        settings=settings,
        corpus=corpus,
        family=content["family"],
    )
    if adaptation_record is not None:
        run.include(adaptation_record)
    make_deterministic()
    search = Search(**settings["decoding"])
    recogniser, stored = with_adapter(base, content, adapter, adapter_description)
    if search.ctc_weight and not recogniser.has_ctc:
        raise SamlError(
            f"arm {arm}: {weights} has no CTC head, which decoding.ctc_weight ({search.ctc_weight:g}) needs; "
            "say 0, or train a base that has one"
        )
    work = _work(speaker, cuts, splits, general_cuts)
    tests = sum(part == "test" for part, *_ in work)
    states = [] if stored is None else stored.states_for(tests) if tests else stored.folds
    lines = []
    with Progress(f"decoding {arm} {speaker or 'general'}", sum(len(cuts) for *_, cuts in work)) as progress:
        for part, fold, chosen in work:
            if isinstance(recogniser, AdaptedRecogniser):
                recogniser.load_state(states[fold])
            texts = transcribe(recogniser, chosen, search, progress)
            lines += [_line(cut, part, fold, texts[cut.id], settings["scoring"]["scorers"]) for cut in chosen]
    lines.sort(key=lambda line: (line["part"], line["fold"], line["utterance"]))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(hypotheses, text.encode())
    _note(run, lines, weights)
    run.file(hypotheses)
    run.write(record)


def with_adapter(
    base: Recogniser, content: Mapping[str, Any], adapter: Path | None, description: Path | None
) -> tuple[Recogniser, StoredAdapter | None]:
    """The recogniser to decode with, and the adapter whose states it is to load, where there is one.

    Raises SamlError where the adapter has no description or belongs to another model.
    """
    if adapter is None:
        as_module(base).to(device())
        return base, None
    if description is None:
        raise SamlError("--adapter needs --adapter-description")
    stored = load_adapter(adapter, description, content)
    adapted = AdaptedRecogniser(base, stored.spec, seed=0)
    adapted.to(device())
    return adapted, stored


def _work(
    speaker: str | None, cuts: Path | None, splits: Path | None, general_cuts: Path | None
) -> list[tuple[str, int, list[MonoCut]]]:
    """What to decode: (part, fold, cuts)."""
    work = []
    if speaker is not None:
        if cuts is None or splits is None:
            raise SamlError(f"decoding speaker {speaker} needs --cuts and --splits")
        by_id = {cut.id: cut for cut in read_cuts(cuts)}
        for fold, parts in enumerate(read_splits(splits, by_id)):
            work.append(("test", fold, [by_id[utterance] for utterance in parts.test]))
    if general_cuts is not None:
        work.append(("general", 0, read_cuts(general_cuts)))
    if not work:
        raise SamlError("nothing to decode: give --speaker with --cuts and --splits, or --general-cuts")
    return work


def _line(cut: MonoCut, part: str, fold: int, hypothesis: str, scorers: Iterable[str]) -> dict[str, Any]:
    reference = cut.supervisions[0].text
    return {
        "utterance": cut.id,
        "speaker": cut.supervisions[0].speaker,
        "part": part,
        "fold": fold,
        "reference": reference,
        "hypothesis": hypothesis,
        "counts": count(reference, hypothesis, scorers),
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
