"""What the encoder makes of a speaker's test utterances: one vector each, the mean over its real frames.

Before adaptation all speakers meet the same model, so what differs is their speech; after it each speaker has
a model of their own.
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
from saml.decoding.encoder_batches import encoded_batches
from saml.decoding.transcription import with_adapter
from saml.models.recogniser import Recogniser
from saml.models.store import load_model
from saml.runtime.errors import about
from saml.runtime.files import write_atomically
from saml.tracking import RunRecord
from saml.training.common import make_deterministic, read_cuts, read_splits

# Seconds of speech encoded at once, padding included.
BATCH_SECONDS = 60.0

# Which adapter made a vector: none, the one before adaptation, the one after it.
NONE, PRETRAINED, ADAPTED = "none", "pretrained", "adapted"

# Of one utterance: which adapter, its id, the vector.
Encoding = tuple[str, str, list[float]]


@torch.inference_mode()
def mean_states(recogniser: Recogniser, cuts: Sequence[MonoCut]) -> dict[str, list[float]]:
    """The mean of the encoder's states over the real frames of each cut, by its id."""
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
    """The stage: encode a speaker's test part, before and after adaptation.

    With folds each utterance is encoded by the adapter of the fold that tests it.

    Args:
        experiment: name of the experiment.
        settings: the config's section `arm`, the entry of this arm.
        arm: name of the arm.
        speaker: whose speech.
        seed: the seed of the adapters (0 where nothing is adapted).
        weights: input, the model.
        description: input, its JSON.
        cuts: input, the speaker's cuts.
        splits: input, the speaker's folds.
        embeddings: output, a table with a row for each adapter and utterance, a column for each dimension.
        record: output, the run record.
        adapter: input, the adapter that was adapted; without one the bare model encodes.
        adapter_description: input, its JSON.
        pretrained: input, the adapter before adaptation, where the arm is pre-trained.
        pretrained_description: input, its JSON.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: a file is missing or damaged, or the adapters do not fit.
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
    heard = [fold.heard for fold in folds]
    recogniser, stored = with_adapter(base, content, adapter, adapter_description)
    found: list[Encoding] = []
    if isinstance(recogniser, AdaptedRecogniser) and stored is not None:
        if pretrained is not None and pretrained_description is not None:
            start = load_adapter(pretrained, pretrained_description, content)
            found += _encoded(recogniser, PRETRAINED, start, heard, tests)
        found += _encoded(recogniser, ADAPTED, stored, heard, tests)
    else:
        found += [(NONE, name, row) for part in tests for name, row in mean_states(recogniser, part).items()]
    write_atomically(embeddings, embeddings_table(found).encode())
    run.file(embeddings)
    run.write(record)


def _encoded(
    recogniser: AdaptedRecogniser,
    label: str,
    stored: StoredAdapter,
    heard: Sequence[str],
    tests: Sequence[Sequence[MonoCut]],
) -> list[Encoding]:
    """Each test part by the state of its own fold, of which `heard` is the digest."""
    found: list[Encoding] = []
    for state, part in zip(stored.states_for(heard), tests, strict=True):
        with about(stored.path):
            recogniser.load_state(state)
        found += [(label, name, row) for name, row in mean_states(recogniser, part).items()]
    return found


def embeddings_table(found: Iterable[Encoding]) -> str:
    """CSV with the columns adapter, utterance, v1, ..., v<width>; utterances in order."""
    rows = sorted(found, key=lambda one: (one[0], one[1]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    width = len(rows[0][2]) if rows else 0
    writer.writerow(["adapter", "utterance", *(f"v{number + 1}" for number in range(width))])
    for label, utterance, row in rows:
        writer.writerow([label, utterance, *(f"{value:.6g}" for value in row)])
    return text.getvalue()
