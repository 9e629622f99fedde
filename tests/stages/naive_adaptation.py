"""Speaker adaptation written out: one fold after another, one adapter, torch's own optimisers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut
from torch import nn

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.adapters.store import load_adapter, save_adapter
from saml.config.settings import AdaptationSettings, AdapterSettings, typed
from saml.corpora.manifests import read_cuts
from saml.corpora.split_files import read_splits
from saml.models.store import load_model
from saml.runtime.devices import seed_for
from saml.training.data import Examples, in_order, shuffled
from saml.training.losses import utterance_losses

State = dict[str, torch.Tensor]
Losses = list[tuple[str, float]]


def adapt_naively(
    *,
    settings: Mapping[str, Any],
    seed: int,
    weights: Path,
    description: Path,
    cuts: Path,
    splits: Path,
    out_adapter: Path,
    out_description: Path,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    **_: Any,
) -> tuple[Losses, list[dict[str, float]]]:
    """Write a speaker's adapter; returns utterances with losses, and the best dev scores by fold."""
    base, content = load_model(weights, description)
    how, own = typed(AdaptationSettings, settings), typed(AdapterSettings, settings)
    spec = AdapterSpec(
        experts=own.experts,
        feed_forward_experts=int(own.feed_forward),
        rank=own.rank,
        alpha=own.alpha,
        dropout=own.dropout,
        mixing=own.mixing,
        routed=own.routed,
        temperature=own.temperature,
        decoder_routing=own.decoder_routing,
    )
    adapted = AdaptedRecogniser(base, spec, seed=seed_for("adapters", seed))
    start = adapted.state()
    if adapter is not None and adapter_description is not None:
        start = load_adapter(adapter, adapter_description, content).folds[0]
    examples = Examples(read_cuts(cuts), base)
    folds = read_splits(splits, {cut.id for cut in examples.cuts})
    states, losses, scores = [], [], []
    for fold in folds:
        adapted.load_state(start)
        train, dev = examples.choose(fold.train), examples.choose(fold.dev)
        best, found, seen = _train(adapted, examples, train, dev, how, seed)
        states.append(best)
        scores.append(found)
        losses += seen
    save_adapter(out_adapter, out_description, spec=spec, folds=states, base=content, origin={})
    return losses, scores


def _train(
    adapted: AdaptedRecogniser,
    examples: Examples,
    train: Sequence[MonoCut],
    dev: Sequence[MonoCut],
    how: AdaptationSettings,
    seed: int,
) -> tuple[State, dict[str, float], Losses]:
    groups = {
        "router": list(adapted.router_parameters().values()),
        "expert": list(adapted.expert_parameters().values()),
    }
    moving = {name: group for name, group in groups.items() if group and name != how.frozen}
    rates = {"router": how.learning_rate.router, "expert": how.learning_rate.expert}
    adams = {name: torch.optim.Adam(group, lr=rates[name]) for name, group in moving.items()}
    best, best_scores, seen = adapted.state(), _evaluate(adapted, examples, dev, how, 0), []
    steps = 0
    for epoch in range(how.epochs):
        adapted.train()
        for cuts in shuffled(train, how.batch_utterances, seed, epoch):
            each = utterance_losses(adapted, examples.batch(cuts), ctc_weight=how.ctc_weight).loss
            seen += zip([cut.id for cut in cuts], each.tolist(), strict=True)
            each.mean().backward()
            turn = list(moving)[steps % len(moving)]
            for name, adam in adams.items():
                if name == turn or not how.interleaved:
                    nn.utils.clip_grad_norm_(moving[name], how.clip_norm)
                    adam.step()
            for parameter in [*groups["router"], *groups["expert"]]:
                parameter.grad = None
            steps += 1
        for adam in adams.values():
            adam.param_groups[0]["lr"] *= how.decay
        scores = _evaluate(adapted, examples, dev, how, epoch + 1)
        better = (
            scores["loss"] < best_scores["loss"]
            if how.select == "loss"
            else scores["accuracy"] > best_scores["accuracy"]
        )
        if better:
            best, best_scores = adapted.state(), scores
    return best, best_scores, seen


@torch.no_grad()
def _evaluate(
    adapted: AdaptedRecogniser,
    examples: Examples,
    dev: Sequence[MonoCut],
    how: AdaptationSettings,
    epoch: int,
) -> dict[str, float]:
    adapted.eval()
    loss = correct = tokens = 0.0
    for cuts in in_order(dev):
        each = utterance_losses(adapted, examples.batch(cuts), ctc_weight=how.ctc_weight)
        loss += float(each.loss.sum())
        correct, tokens = correct + float(each.correct.sum()), tokens + float(each.tokens.sum())
    return {"loss": loss / len(dev), "accuracy": correct / tokens, "epoch": float(epoch)}
