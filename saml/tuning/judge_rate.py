"""The stage judge-rate: loss of an arm's trials at one learning rate on unseen utterances.

A training keeps the epoch with the best dev score. On few utterances the best of many epochs is optimistic,
most of all at high rates, whose epochs differ most; rates selected by dev scores would be too high. Unseen
utterances are those used neither for training nor to select an epoch.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import State, StoredAdapter, load_adapter
from saml.corpora.manifests import read_cuts
from saml.corpora.registry import folder_name
from saml.corpora.split_files import read_splits
from saml.features.batching import by_length
from saml.models.recogniser import Recogniser
from saml.models.store import load_model
from saml.runtime import layout
from saml.runtime.devices import device, make_deterministic, seconds_at_once
from saml.runtime.errors import SamlError
from saml.runtime.layout import place
from saml.runtime.progress import Progress
from saml.tracking import RunRecord
from saml.training.data import Examples, own_tokens
from saml.training.losses import utterance_losses
from saml.tuning.rates import ADAPTATION, PRETRAINING, adaptation_trial, pretraining_trial
from saml.tuning.trial import SCORE, is_diverged

# The index of the adapter state for which an utterance is unseen, and the utterance.
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
    """Score the trials of an arm at one rate: the mean loss on each tuning speaker's unseen utterances.

    For a pre-trained adapter these are all utterances of the tuning speakers, for an adaptation the test
    parts of its folds. A speaker whose trial diverged has the score `diverged`.

    Args:
        experiment: name of the experiment.
        settings: of the config `tuning.speakers`, and `ctc_weight` of the section that `kind` names; `cuts`
            is the name of the file with the labels, if they are not the transcripts.
        arm: name of the arm.
        seed: of the trials.
        kind: which trials, "pretraining" or "adaptation".
        rate: which of the grid.
        results: `results/<experiment>`, with the trials and the speakers' data.
        weights: input, the model.
        description: input, its JSON.
        record: output, the run record: for each speaker `<speaker>/loss` and `<speaker>/accuracy`, or
            `<speaker>/diverged`; the count `diverged`; the mean `loss` over all speakers if that is 0.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: there is no such kind; a trial or a speaker's speech is missing, damaged or of another
            model.
    """
    if kind not in (PRETRAINING, ADAPTATION):
        raise SamlError(f"--kind {kind}: no such trials; use {PRETRAINING} or {ADAPTATION}")
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
    adapted = _adapted(base, [stored for stored in adapters.values() if stored is not None])
    with Progress(f"judging {arm} at {rate} (speakers)", len(adapters)) as progress:
        for speaker, stored in adapters.items():
            name = folder_name(speaker)
            found.append({SCORE: 1.0})
            if adapted is not None and stored is not None:
                speech = place(results, layout.SPEECH, speaker=speaker)
                states, rows = _unseen(stored, speech, settings.get("cuts", "cuts.jsonl.gz"))
                found[-1] = _scores(adapted, states, rows, settings[kind]["ctc_weight"])
            for score, value in found[-1].items():
                run.score(f"{name}/{score}", value)
            progress.update(len(found), speaker)
    diverged = sum(SCORE in scores for scores in found)
    run.score(SCORE, diverged)
    if not diverged:
        run.score("loss", fmean(scores["loss"] for scores in found))
    run.write(record)


def _adapter(
    results: Path, kind: str, arm: str, rate: float, speaker: str, seed: int, content: Mapping[str, Any]
) -> StoredAdapter | None:
    """The adapter to evaluate on a speaker; None where its training diverged."""
    if kind == PRETRAINING:
        folder = pretraining_trial(results, arm, rate, seed)
    else:
        folder = adaptation_trial(results, arm, rate, speaker, seed)
    if is_diverged(folder / "adapter.safetensors"):
        return None
    return load_adapter(folder / "adapter.safetensors", folder / "adapter.json", content)


def _adapted(base: Recogniser, adapters: Sequence[StoredAdapter]) -> AdaptedRecogniser | None:
    """A recogniser with room for the states of any of the adapters; None without adapters.

    Raises SamlError where their specifications differ.
    """
    if not adapters:
        return None
    first = adapters[0]
    for stored in adapters:
        if stored.spec != first.spec:
            raise SamlError(f"{stored.path}: differs in kind from {first.path}; run `snakemake tune` again")
    adapted = AdaptedRecogniser(
        base, first.spec, adapters=max(len(stored.folds) for stored in adapters), seed=0
    )
    adapted.to(device())
    adapted.eval()
    return adapted


def _unseen(stored: StoredAdapter, speech: Path, cuts: str) -> tuple[list[State], list[_Row]]:
    """The states of an adapter, and the utterances of a tuning speaker that are unseen for each state."""
    by_id = {cut.id: cut for cut in read_cuts(speech / cuts)}
    folds = read_splits(speech / "splits.json", by_id)
    if not stored.is_personal:
        every = sorted({u for fold in folds for u in (*fold.train, *fold.dev, *fold.test)})
        return stored.folds[:1], [(0, by_id[utterance]) for utterance in every]
    states = stored.states_for([fold.digest for fold in folds])
    return states, [(index, by_id[u]) for index, fold in enumerate(folds) for u in fold.test]


@torch.no_grad()
def _scores(
    adapted: AdaptedRecogniser, states: Sequence[State], rows: Sequence[_Row], ctc_weight: float
) -> dict[str, float]:
    """Mean loss and token accuracy, each utterance with its state; `diverged` without a finite loss."""
    for index, state in enumerate(states):
        adapted.load_state(state, adapter=index)
    examples = Examples([cut for _, cut in rows], adapted)
    losses: list[float] = []
    correct = tokens = 0
    for some in by_length(rows, seconds_at_once(device())):
        batch = examples.batch([cut for _, cut in some])
        # A router that sees the decoder's input sees padding too: not that of other utterances.
        alone = own_tokens(batch, range(len(some))) if adapted.routed_by_input else None
        adapted.assign([index for index, _ in some], alone)
        each = utterance_losses(adapted, batch.to(device()), ctc_weight=ctc_weight)
        losses += each.loss.tolist()
        correct, tokens = correct + int(each.correct.sum()), tokens + int(each.tokens.sum())
    mean = fmean(losses)
    return {"loss": mean, "accuracy": correct / tokens} if math.isfinite(mean) else {SCORE: 1.0}
