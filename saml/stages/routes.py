"""The stage `routes`: the router's weights for each utterance of a target speaker, without decoding.

The pre-trained adapter of an arm, before adaptation, routes all utterances of the speaker. All speakers share
this router, so differences between routes are differences between speech; after adaptation each speaker has
a router of their own.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import load_adapter
from saml.corpora.manifests import read_cuts
from saml.decoding.encoder_batches import encoded_batches
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic
from saml.runtime.errors import SamlError, about
from saml.runtime.files import write_atomically
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

# Seconds of speech in a batch, padding included; an utterance's route does not depend on its batch.
BATCH_SECONDS = 60.0

# Utterance id, layer name, weights of all experts.
Routed = tuple[str, str, list[float]]


@torch.inference_mode()
def route(
    adapted: AdaptedRecogniser, cuts: Sequence[MonoCut], progress: Progress | None = None
) -> list[Routed]:
    """The weights of every cut in every routed layer, sorted by utterance, then in the order of the layers.

    Layers are the encoder's attention modules by name, then `decoder_self` and `cross`, unless the decoder is
    routed by its own input.
    """
    found: list[Routed] = []
    for batch, _ in encoded_batches(adapted, cuts, max_seconds=BATCH_SECONDS):
        for layer, weights in adapted.routes().items():
            rows = zip(batch, weights.tolist(), strict=True)
            found += [(cut.id, layer, row) for (_, cut), row in rows]
        if progress is not None:
            progress.update(progress.done + len(batch))
    return sorted(found, key=lambda one: one[0])  # stable: keeps the order of the layers


def mean_routes(adapted: AdaptedRecogniser, cuts: Sequence[MonoCut]) -> dict[str, torch.Tensor]:
    """The mean route over `cuts` `(experts,)` of each routed layer; utterances have equal weight."""
    found: dict[str, list[list[float]]] = {}
    for _, layer, weights in route(adapted, cuts):
        found.setdefault(layer, []).append(weights)
    return {layer: torch.tensor(rows).mean(0) for layer, rows in found.items()}


def routes(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    speaker: str,
    seed: int,
    weights: Path,
    description: Path,
    cuts: Path,
    adapter: Path,
    adapter_description: Path,
    routes: Path,
    record: Path,
    corpus: str | None = None,
) -> None:
    """Route all utterances of one speaker.

    Args:
        experiment: name of the experiment.
        settings: the config's section `arm`, the entry of this arm.
        arm: name of the arm.
        speaker: the target speaker.
        seed: the seed of the adapter.
        weights: input, the model's weights.
        description: input, its JSON.
        cuts: input, the speaker's cuts.
        adapter: input, the adapter, its router included.
        adapter_description: input, its JSON.
        routes: output, a table with a row for each utterance and layer and a column for each expert.
        record: output, the run record.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: a file is missing or damaged, or the adapter has no router.
    """
    base, content = load_model(weights, description)
    run = RunRecord(
        stage="routes",
        experiment=experiment,
        arm=arm,
        speaker=speaker,
        seed=seed,
        settings=settings,
        corpus=corpus,
        family=content["family"],
    )
    make_deterministic()
    stored = load_adapter(adapter, adapter_description, content)
    adapted = AdaptedRecogniser(base, stored.spec, seed=0)
    if not adapted.routers:
        raise SamlError(f"{adapter}: arm {arm} has no router")
    adapted.to(device())
    with about(adapter):
        adapted.load_state(stored.folds[0])
    chosen = read_cuts(cuts)
    with Progress(f"routing {speaker} with {arm}", len(chosen)) as progress:
        found = route(adapted, chosen, progress)
    write_atomically(routes, routes_table(found, stored.spec.experts).encode())
    run.file(routes)
    run.write(record)


def routes_table(found: Iterable[Routed], experts: int) -> str:
    """CSV with the columns utterance, layer, expert1, ..., `expert<experts>`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["utterance", "layer", *(f"expert{number + 1}" for number in range(experts))])
    for utterance, layer, weights in found:
        writer.writerow([utterance, layer, *(f"{weight:.6f}" for weight in weights)])
    return text.getvalue()
