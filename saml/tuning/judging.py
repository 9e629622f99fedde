"""judge-rate: how an arm's trials at one rate do on sentences that neither trained nor chose.

A training keeps the epoch that does best on its dev part. On a few sentences the best of many epochs
flatters, most of all at a high rate, whose epochs differ most: rates chosen by it would be too high.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.store import State, StoredAdapter, load_adapter
from saml.corpora.registry import folder_name
from saml.crowd.loop import own_tokens
from saml.crowd.recogniser import CrowdRecogniser
from saml.features.batching import by_length
from saml.models.recogniser import Recogniser
from saml.models.store import load_model
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress
from saml.tracking import RunRecord
from saml.training.common import device, make_deterministic, read_cuts, read_splits
from saml.training.data import Examples
from saml.training.losses import utterance_losses
from saml.training.parts import seconds_at_once
from saml.tuning.rates import ADAPTATION, PRETRAINING, adaptation_trial, pretraining_trial
from saml.tuning.trial import SCORE, is_lost

# Which of an adapter's states an utterance is unheard by, and the utterance.
_Row = tuple[int, MonoCut]


def judge_rate(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    kind: str,
    rate: float,
    results: Path,
    weights: Path,
    description: Path,
    record: Path,
    corpus: str | None = None,
) -> None:
    """Score the trials of an arm at one rate: the mean loss of each tuning speaker's unheard utterances.

    A pre-trained adapter has heard nobody of them: all their utterances count. An adaptation counts by the
    test parts of its folds. A speaker whose trial has diverged has the score `diverged`.

    Args:
        experiment: name of the experiment.
        settings: of the config `tuning.speakers`, and `ctc_weight` of the section that `kind` names.
        arm: name of the arm.
        seed: of the trials.
        kind: which trials, "pretraining" or "adaptation".
        rate: which of the grid.
        results: results/<experiment>, where trials and speakers lie.
        weights: input, the model.
        description: input, its JSON.
        record: output, the run record: for each speaker `<speaker>/loss` and `<speaker>/accuracy`, or
            `<speaker>/diverged`; the mean `loss` over all speakers, unless one diverged; how many `diverged`.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: there is no such kind; a trial or a speaker's speech is missing, damaged or of another
            model.
    """
    if kind not in (PRETRAINING, ADAPTATION):
        raise SamlError(f"--kind {kind}: no such trials; say {PRETRAINING} or {ADAPTATION}")
    base, content = load_model(weights, description)
    run = RunRecord(
        stage="judge-rate",
        experiment=experiment,
        arm=arm,
        seed=seed,
        settings={**settings, "kind": kind, "rate": rate},
        corpus=corpus,
        family=content["family"],
    )
    make_deterministic()
    speakers = settings["tuning"]["speakers"]
    adapters = {name: _adapter(results, kind, arm, rate, name, seed, content) for name in speakers}
    found: list[dict[str, float]] = []
    crowd = _crowd(base, [stored for stored in adapters.values() if stored is not None])
    with Progress(f"judging {arm} at {rate} (speakers)", len(adapters)) as progress:
        for speaker, stored in adapters.items():
            name = folder_name(speaker)
            found.append({SCORE: 1.0})
            if crowd is not None and stored is not None:
                states, rows = _unheard(stored, results / "data" / "speakers" / name)
                found[-1] = _scores(crowd, states, rows, settings[kind]["ctc_weight"])
            for score, value in found[-1].items():
                run.score(f"{name}/{score}", value)
            progress.update(len(found), speaker)
    lost = sum(SCORE in scores for scores in found)
    run.score(SCORE, lost)
    if not lost:
        run.score("loss", fmean(scores["loss"] for scores in found))
    run.write(record)


def _adapter(
    results: Path, kind: str, arm: str, rate: float, speaker: str, seed: int, content: Mapping[str, Any]
) -> StoredAdapter | None:
    """The adapter to judge on a speaker; None where its training diverged."""
    if kind == PRETRAINING:
        folder = pretraining_trial(results, arm, rate, seed)
    else:
        folder = adaptation_trial(results, arm, rate, speaker, seed)
    if is_lost(folder / "adapter.safetensors"):
        return None
    return load_adapter(folder / "adapter.safetensors", folder / "adapter.json", content)


def _crowd(base: Recogniser, adapters: Sequence[StoredAdapter]) -> CrowdRecogniser | None:
    """A recogniser with room for the states of any of the adapters; None where there is none.

    Raises SamlError where they are not of one kind.
    """
    if not adapters:
        return None
    first = adapters[0]
    for stored in adapters:
        if stored.spec != first.spec:
            raise SamlError(
                f"{stored.path}: is of another kind than {first.path}; run `snakemake tune` again"
            )
    crowd = CrowdRecogniser(base, first.spec, members=max(len(stored.folds) for stored in adapters), seed=0)
    crowd.to(device())
    crowd.eval()
    return crowd


def _unheard(stored: StoredAdapter, speech: Path) -> tuple[list[State], list[_Row]]:
    """The states of an adapter, and what of a tuning speaker's speech each has not heard."""
    by_id = {cut.id: cut for cut in read_cuts(speech / "cuts.jsonl.gz")}
    folds = read_splits(speech / "splits.json", by_id)
    if not stored.is_personal:
        every = sorted({u for fold in folds for u in (*fold.train, *fold.dev, *fold.test)})
        return stored.folds[:1], [(0, by_id[utterance]) for utterance in every]
    states = stored.states_for([fold.heard for fold in folds])
    return states, [(index, by_id[u]) for index, fold in enumerate(folds) for u in fold.test]


@torch.no_grad()
def _scores(
    crowd: CrowdRecogniser, states: Sequence[State], rows: Sequence[_Row], ctc_weight: float
) -> dict[str, float]:
    """Mean loss and share of tokens right, each utterance with its state; `diverged` for no finite loss."""
    for member, state in enumerate(states):
        crowd.load_state_of(member, state)
    examples = Examples([cut for _, cut in rows], crowd)
    losses: list[float] = []
    correct = tokens = 0
    for some in by_length(rows, seconds_at_once(device())):
        batch = examples.batch([cut for _, cut in some], range(len(some)))
        # A router that is given the decoder's input looks at padding too: not at that of other utterances.
        by_input = crowd.routed_by_input
        crowd.assign([member for member, _ in some], own_tokens(batch) if by_input else None)
        each = utterance_losses(crowd, batch.to(device()), ctc_weight=ctc_weight)
        losses += each.loss.tolist()
        correct, tokens = correct + int(each.correct.sum()), tokens + int(each.tokens.sum())
    mean = fmean(losses)
    return {"loss": mean, "accuracy": correct / tokens} if math.isfinite(mean) else {SCORE: 1.0}
