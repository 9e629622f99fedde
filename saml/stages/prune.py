"""A speaker's adapter made smaller: fewer experts, or the whole mixture as one LoRA.

Nothing is trained. The adapter routes the speech that it was trained on; the experts that this speech is
routed to most are kept, or the mixture is collapsed at its mean route (`saml.adapters.compress`).
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser, AdapterSpec
from saml.adapters.compress import Routes, best_routed, collapse, keep
from saml.adapters.store import State, load_adapter, save_adapter
from saml.corpora.splits import enrolled
from saml.models.store import load_model
from saml.runtime.errors import SamlError, about
from saml.stages.routes import route
from saml.tracking import RunRecord
from saml.training.common import Fold, device, make_deterministic, read_cuts, read_splits

# Of one fold: what kind of adapter it becomes, its state, the experts that are left (of one LoRA: none).
Smaller = tuple[AdapterSpec, State, list[int]]


def prune(
    *,
    weights: Path,
    adapter: Path,
    cuts: Path,
    splits: Path,
    out_adapter: Path,
    kept: int | None = None,
    description: Path | None = None,
    adapter_description: Path | None = None,
    out_description: Path | None = None,
    record: Path | None = None,
    experiment: str = "",
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Write a smaller version of an adapted speaker's adapter, each fold by its own routes.

    Args:
        weights: input, the model.
        adapter: input, the adapter, which has a router.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds; the training utterances that the adapter was made with are routed.
        out_adapter: output.
        kept: how many experts stay; None: the mixture becomes one LoRA.
        description, adapter_description: input, the JSON of each; by default beside it.
        out_description: output, its JSON; by default beside it.
        record: output, the run record; by default there is none.
        experiment, corpus, family: for the record.

    Raises:
        SamlError: a file is missing or damaged, or the adapter cannot be made so small.
    """
    base, content = load_model(weights, description or weights.with_suffix(".json"))
    stored = load_adapter(adapter, adapter_description or adapter.with_suffix(".json"), content)
    origin = stored.description
    run = RunRecord(
        stage="prune",
        experiment=experiment,
        arm=origin["arm"],
        speaker=origin.get("speaker"),
        seed=origin["seed"],
        settings={"kept": kept},
        corpus=corpus,
        family=family or content["family"],
    )
    make_deterministic()
    adapted = AdaptedRecogniser(base, stored.spec, seed=0)
    _refuse(adapted, adapter, kept)
    adapted.to(device())
    by_id = {cut.id: cut for cut in read_cuts(cuts)}
    smaller, shares = [], []
    folds = read_splits(splits, by_id, untested=True)
    for state, fold in zip(stored.states_for([fold.heard for fold in folds]), folds, strict=True):
        with about(adapter):
            adapted.load_state(state)
            heard = _heard(origin, fold)
        routes = mean_routes(adapted, [by_id[utterance] for utterance in heard])
        smaller.append(_smaller(adapted, routes, kept))
        shares.append(share(routes, smaller[-1][2]) if kept is not None else 1.0)
    names = ("arm", "speaker", "seed", "heard", "settings")
    mean_share = fmean(shares)
    pruned = {"experts": [left for *_, left in smaller], "share": mean_share}
    save_adapter(
        out_adapter,
        out_description or out_adapter.with_suffix(".json"),
        spec=smaller[0][0],
        folds=[state for _, state, _ in smaller],
        base=content,
        origin={name: origin[name] for name in names if name in origin} | {"pruned": pruned},
    )
    before, after = (path.stat().st_size / 1e6 for path in (adapter, out_adapter))
    print(f"{out_adapter}: {after:.2f} MB, of {before:.2f} in {adapter}", file=sys.stderr)
    if record is not None:
        run.score("pruned/share", mean_share)
        run.size("adapter", out_adapter.stat().st_size)
        run.file(out_adapter)
        run.write(record)


def mean_routes(adapted: AdaptedRecogniser, cuts: Sequence[MonoCut]) -> dict[str, torch.Tensor]:
    """The mean route of `cuts` in each layer that is routed, utterances counting alike."""
    found: dict[str, list[list[float]]] = {}
    for _, layer, weights in route(adapted, cuts):
        found.setdefault(layer, []).append(weights)
    return {layer: torch.tensor(rows).mean(0) for layer, rows in found.items()}


def share(routes: Routes, experts: Sequence[int]) -> float:
    """The share of all weight, over layers, that `experts` have."""
    return fmean(float(weights[list(experts)].sum()) for weights in routes.values())


def _smaller(adapted: AdaptedRecogniser, routes: Routes, kept: int | None) -> Smaller:
    if kept is None:
        return *collapse(adapted, routes), []
    left = best_routed(routes, kept)
    return *keep(adapted, left), left


def _refuse(adapted: AdaptedRecogniser, adapter: Path, kept: int | None) -> None:
    """Raise SamlError where the adapter is no mixture, or cannot be made what is asked for."""
    spec = adapted.spec
    if not adapted.routers:
        raise SamlError(f"{adapter}: no mixture of experts, so there is nothing to take away")
    if kept is not None and not 1 <= kept <= spec.experts:
        raise SamlError(f"{adapter}: has {spec.experts} experts; 1 to {spec.experts} of them can be kept")
    if kept is None and spec.decoder_routing == "input":
        raise SamlError(
            f"{adapter}: its decoder is routed anew with every token, so no route stands for it; keep one"
        )


def _heard(origin: Mapping[str, Any], fold: Fold) -> list[str]:
    """The training utterances that the adapter was made with: its description says how many."""
    try:
        limit, speaker = origin["settings"]["partition"]["enrolment"], origin["speaker"]
    except (KeyError, TypeError):
        raise SamlError(
            "the adapter's description does not say whom it was adapted to; adapt again"
        ) from None
    return enrolled(fold.train, limit, speaker)
