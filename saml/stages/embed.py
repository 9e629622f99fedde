"""The stage `encode`: an embedding of each test utterance, the mean encoder state over its frames.

Before adaptation all speakers share the model, so differences between embeddings are differences between
speech; after adaptation each speaker has adapters of their own.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.store import StoredAdapter, load_adapter
from saml.corpora.manifests import read_cuts
from saml.corpora.split_files import read_splits
from saml.decoding.encoder_batches import encoded_batches
from saml.decoding.transcription import adapted, load_given
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic
from saml.runtime.errors import about
from saml.runtime.files import write_atomically
from saml.tracking import RunRecord

# Seconds of speech in a batch, padding included.
BATCH_SECONDS = 60.0

# The adapter of an embedding: none, the one before adaptation, the one after it.
NONE, PRETRAINED, ADAPTED = "none", "pretrained", "adapted"

# Adapter (one of the above), utterance id, vector.
Embedding = tuple[str, str, list[float]]


@torch.inference_mode()
def mean_states(recogniser: Recogniser, cuts: Sequence[MonoCut]) -> dict[str, list[float]]:
    """The mean of the encoder's states over the frames of each cut, padding excluded, by its id."""
    found: dict[str, list[float]] = {}
    for batch, encoded in encoded_batches(recogniser, cuts, max_seconds=BATCH_SECONDS):
        mask = encoded.mask[..., None].to(encoded.states.dtype)  # (batch, time, 1)
        means = (encoded.states * mask).sum(dim=1) / mask.sum(dim=1)  # (batch, width)
        found |= {cut.id: row for (_, cut), row in zip(batch, means.tolist(), strict=True)}
    return found


def encode(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    arm: str,
    speaker: str,
    seed: int,
    weights: Path,
    description: Path,
    cuts: Path,
    splits: Path,
    embeddings: Path,
    record: Path,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    pretrained: Path | None = None,
    pretrained_description: Path | None = None,
    corpus: str | None = None,
) -> None:
    """Compute embeddings of a speaker's test part, before and after adaptation.

    With folds each utterance is encoded with the adapter of the fold that tests it.

    Args:
        experiment: name of the experiment.
        settings: the config's section `arm`, the entry of this arm.
        arm: name of the arm.
        speaker: the target speaker.
        seed: the seed of the adapters (0 without adapters).
        weights: input, the model's weights.
        description: input, its JSON.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds.
        embeddings: output, a table with a row for each adapter and utterance, a column for each dimension.
        record: output, the run record.
        adapter: input, the adapter after adaptation; None: the model without adapters.
        adapter_description: input, its JSON.
        pretrained: input, the adapter before adaptation, if the arm is pre-trained.
        pretrained_description: input, its JSON.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: a file is missing or damaged, or model and adapters do not match.
    """
    base, content = load_model(weights, description)
    run = RunRecord(
        stage="encode",
        experiment=experiment,
        arm=arm,
        speaker=speaker,
        seed=seed,
        settings=settings,
        corpus=corpus,
        family=content["family"],
    )
    make_deterministic()
    by_id = {cut.id: cut for cut in read_cuts(cuts)}
    folds = read_splits(splits, by_id)
    tests = [[by_id[name] for name in fold.test] for fold in folds]
    digests = [fold.digest for fold in folds]
    stored = load_given(adapter, adapter_description, content)
    found: list[Embedding] = []
    if stored is not None:
        recogniser = adapted(base, stored)
        if pretrained is not None and pretrained_description is not None:
            start = load_adapter(pretrained, pretrained_description, content)
            found += _embeddings(recogniser, PRETRAINED, start, digests, tests)
        found += _embeddings(recogniser, ADAPTED, stored, digests, tests)
    else:
        as_module(base).to(device())
        found += [(NONE, name, row) for part in tests for name, row in mean_states(base, part).items()]
    write_atomically(embeddings, embeddings_table(found).encode())
    run.file(embeddings)
    run.write(record)


def _embeddings(
    recogniser: AdaptedRecogniser,
    label: str,
    stored: StoredAdapter,
    digests: Sequence[str],
    tests: Sequence[Sequence[MonoCut]],
) -> list[Embedding]:
    """The embeddings of each test part with the state of its own fold, which `digests` identify."""
    found: list[Embedding] = []
    for state, part in zip(stored.states_for(digests), tests, strict=True):
        with about(stored.path):
            recogniser.load_state(state)
        found += [(label, name, row) for name, row in mean_states(recogniser, part).items()]
    return found


def embeddings_table(found: Iterable[Embedding]) -> str:
    """CSV with the columns adapter, utterance, v1, ..., `v<width>`, sorted by adapter and utterance."""
    rows = sorted(found, key=lambda one: (one[0], one[1]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    width = len(rows[0][2]) if rows else 0
    writer.writerow(["adapter", "utterance", *(f"v{number + 1}" for number in range(width))])
    for label, utterance, row in rows:
        writer.writerow([label, utterance, *(f"{value:.6g}" for value in row)])
    return text.getvalue()
