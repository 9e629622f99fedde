"""The stage `prune`: reduce a speaker's adapter to fewer experts, or to one LoRA.

There is no training. The adapter routes its own training utterances; the experts with the largest weights are
kept, or the mixture is merged with its mean route into one LoRA (`saml.adapters.compress`).
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.compress import Routes, best_routed, collapse, keep
from saml.adapters.spec import AdapterSpec
from saml.adapters.store import State, load_adapter, save_adapter
from saml.corpora.manifests import read_cuts
from saml.corpora.split_files import Fold, read_splits
from saml.corpora.splits import enrolled
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic
from saml.runtime.errors import SamlError, about
from saml.stages.routes import mean_routes
from saml.tracking import RunRecord

# The pruned adapter of a fold: its specification, its state, the kept experts (none for one LoRA).
Pruned = tuple[AdapterSpec, State, list[int]]


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
    """Prune the adapter of a target speaker, each fold by its own routes.

    Args:
        weights: input, the model's weights.
        adapter: input, the adapter, which has a router.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds; the adapter's training utterances are routed.
        out_adapter: output.
        kept: number of experts to keep; None: merge the mixture into one LoRA.
        description, adapter_description: input, their JSON; None: the files beside them.
        out_description: output, its JSON; None: the file beside it.
        record: output, the run record; None: no record.
        experiment, corpus, family: for the record.

    Raises:
        SamlError: a file is missing or damaged, or the adapter cannot be pruned as requested.
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
    _check_prunable(adapted, adapter, kept)
    adapted.to(device())
    by_id = {cut.id: cut for cut in read_cuts(cuts)}
    folds_pruned, shares = [], []
    folds = read_splits(splits, by_id, untested=True)
    for state, fold in zip(stored.states_for([fold.digest for fold in folds]), folds, strict=True):
        with about(adapter):
            adapted.load_state(state)
            trained = _training_utterances(origin, fold)
        routes = mean_routes(adapted, [by_id[utterance] for utterance in trained])
        folds_pruned.append(_prune_fold(adapted, routes, kept))
        shares.append(share(routes, folds_pruned[-1][2]) if kept is not None else 1.0)
    names = ("arm", "speaker", "seed", "trained_on", "settings")
    mean_share = fmean(shares)
    pruned = {"experts": [left for *_, left in folds_pruned], "share": mean_share}
    save_adapter(
        out_adapter,
        out_description or out_adapter.with_suffix(".json"),
        spec=folds_pruned[0][0],
        folds=[state for _, state, _ in folds_pruned],
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


def share(routes: Routes, experts: Sequence[int]) -> float:
    """The mean over layers of the total routing weight of `experts`."""
    return fmean(float(weights[list(experts)].sum()) for weights in routes.values())


def _prune_fold(adapted: AdaptedRecogniser, routes: Routes, kept: int | None) -> Pruned:
    if kept is None:
        return *collapse(adapted, routes), []
    left = best_routed(routes, kept)
    return *keep(adapted, left), left


def _check_prunable(adapted: AdaptedRecogniser, adapter: Path, kept: int | None) -> None:
    """Raise SamlError when the adapter is not a mixture, or cannot be pruned as requested."""
    spec = adapted.spec
    if not adapted.routers:
        raise SamlError(f"{adapter}: not a mixture of experts, so there is nothing to prune")
    if kept is not None and not 1 <= kept <= spec.experts:
        raise SamlError(f"{adapter}: has {spec.experts} experts; 1 to {spec.experts} of them can be kept")
    if kept is None and spec.decoder_routing == "input":
        raise SamlError(
            f"{adapter}: its decoder is routed at every token, so it has no mean route; keep one expert"
        )


def _training_utterances(origin: Mapping[str, Any], fold: Fold) -> list[str]:
    """The adapter's training utterances in a fold; its description has the enrolment."""
    try:
        limit, speaker = origin["settings"]["partition"]["enrolment"], origin["speaker"]
    except (KeyError, TypeError):
        raise SamlError("the adapter's description has no speaker or no enrolment; adapt again") from None
    return enrolled(fold.train, limit, speaker)
