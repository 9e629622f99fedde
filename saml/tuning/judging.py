"""judge-rate: how an arm's trials at one rate do on sentences that neither trained nor chose.

A training keeps the pass that does best on its dev part. Of a few sentences the best of many passes flatters,
and most of all a high rate, whose passes differ most: whoever chose rates by it would choose too high.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.store import State, StoredAdapter, load_adapter
from saml.corpora import folder_name
from saml.crowd.recogniser import CrowdRecogniser
from saml.lengths import by_length
from saml.models.store import load_model
from saml.progress import Progress
from saml.tracking import RunRecord
from saml.training.common import device, make_deterministic, read_cuts, read_splits
from saml.training.examples import Examples
from saml.training.losses import utterance_losses
from saml.training.parts import seconds_at_once
from saml.tuning.rates import PRETRAINING, adaptation_trial, pretraining_trial
from saml.tuning.trial import SCORE, is_lost

# Which of the judged, which member of the crowd, and an utterance.
_Row = tuple[tuple[int, int], MonoCut]


@dataclass(frozen=True)
class _Judged:
    """A tuning speaker, adapters and the utterances that each has not heard: (which state, utterance)."""

    name: str
    states: list[State]
    rows: list[tuple[int, MonoCut]]


def judge_rate(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    seed: int,
    kind: str,
    rate: str,
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
        settings: `judging`, with the tuning `speakers` and the trials' `ctc_weight`.
        arm: name of the arm.
        seed: of the trials.
        kind: which trials, "pretraining" or "adaptation".
        rate: as the folders spell it.
        results: results/<experiment>, where trials and speakers lie.
        weights: input, the model.
        description: input, its JSON.
        record: output, the run record, with the scores `<speaker>/loss` and `<speaker>/accuracy`.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: a trial or a speaker's speech is missing, damaged or of another model.
    """
    base, content = load_model(weights, description)
    run = RunRecord(
        stage="judge-rate",
        experiment=experiment,
        arm=arm,
        seed=seed,
        settings={**settings, "rate": rate},
        corpus=corpus,
        family=content["family"],
    )
    make_deterministic()
    judged: list[_Judged] = []
    spec = None
    for speaker in settings["judging"]["speakers"]:
        name = folder_name(speaker)
        folder = (
            pretraining_trial(results, arm, float(rate), seed)
            if kind == PRETRAINING
            else adaptation_trial(results, arm, float(rate), speaker, seed)
        )
        if is_lost(folder / "adapter.safetensors"):
            run.score(f"{name}/{SCORE}", 1.0)
            continue
        stored = load_adapter(folder / "adapter.safetensors", folder / "adapter.json", content)
        judged.append(_unheard(name, stored, results / "data" / "speakers" / name))
        spec = stored.spec
    if spec is not None:
        crowd = CrowdRecogniser(base, spec, members=sum(len(one.states) for one in judged), seed=0)
        ctc_weight = settings["judging"]["ctc_weight"]
        for name, scores in _scores(crowd, judged, ctc_weight, f"judging {arm} at {rate}"):
            for score, value in scores.items():
                run.score(f"{name}/{score}", value)
    run.write(record)


def _unheard(name: str, stored: StoredAdapter, speech: Path) -> _Judged:
    """What of a tuning speaker's speech the adapter has not heard."""
    by_id = {cut.id: cut for cut in read_cuts(speech / "cuts.jsonl.gz")}
    folds = read_splits(speech / "splits.json", by_id)
    if not stored.is_personal:
        every = sorted({u for fold in folds for u in (*fold.train, *fold.dev, *fold.test)})
        return _Judged(name, stored.folds[:1], [(0, by_id[utterance]) for utterance in every])
    states = stored.states_for([fold.heard for fold in folds])
    return _Judged(name, states, [(index, by_id[u]) for index, fold in enumerate(folds) for u in fold.test])


@torch.no_grad()
def _scores(
    crowd: CrowdRecogniser, judged: Sequence[_Judged], ctc_weight: float, what: str
) -> Iterator[tuple[str, dict[str, float]]]:
    """Each one's name, and mean loss and share of tokens right, or that the loss is no finite number."""
    rows: list[_Row] = []
    member = 0
    for index, one in enumerate(judged):
        for offset, state in enumerate(one.states):
            crowd.load_state_of(member + offset, state)
        rows += [((index, member + which), cut) for which, cut in one.rows]
        member += len(one.states)
    crowd.to(device())
    crowd.eval()
    examples = Examples(list({cut.id: cut for _, cut in rows}.values()), crowd)
    losses: list[list[float]] = [[] for _ in judged]
    correct, tokens = [0] * len(judged), [0] * len(judged)
    with Progress(what, len(rows)) as progress:
        for some in _batches(crowd, rows):
            members = [member for (_, member), _ in some]
            batch = examples.batch([cut for _, cut in some], members)
            crowd.assign(members)
            each = utterance_losses(crowd, batch.to(device()), ctc_weight=ctc_weight)
            for row, ((index, _), _) in enumerate(some):
                losses[index].append(float(each.loss[row]))
                correct[index] += int(each.correct[row])
                tokens[index] += int(each.tokens[row])
            progress.update(progress.done + len(some))
    for index, one in enumerate(judged):
        mean = fmean(losses[index])
        if math.isfinite(mean):
            yield one.name, {"loss": mean, "accuracy": correct[index] / tokens[index]}
        else:
            yield one.name, {SCORE: 1.0}


def _batches(crowd: CrowdRecogniser, rows: Sequence[_Row]) -> Sequence[Sequence[_Row]]:
    """Utterances of like length together; each by itself where padding would change what is computed.

    A router that is given the decoder's input looks at padding too.
    """
    if crowd.spec.decoder_routing == "input":
        return [[row] for row in rows]
    return by_length(rows, seconds_at_once(device()))
