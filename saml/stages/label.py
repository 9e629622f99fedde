"""The stage `label`: what a model is trained to write, in the style that it writes itself.

Only where `model.whisper.text_style` is `model`. The full-precision base transcribes the utterances, and each
word that it recognises takes the form that it gave it (see `saml.corpora.labels`). Scoring keeps to the
transcripts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut

from saml.config.settings import DecodingSettings, typed
from saml.corpora.labels import in_models_style
from saml.corpora.manifests import read_cuts, write_manifest
from saml.decoding.transcription import best_outputs
from saml.models.recogniser import as_module
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress
from saml.tracking import RunRecord


def label(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    whose: str,
    weights: Path,
    description: Path,
    cuts: Path,
    labelled: Path,
    record: Path,
    corpus: str | None = None,
) -> None:
    """Write cuts whose texts are labels in the model's style; the transcript is kept beside each.

    Args:
        experiment: name of the experiment.
        settings: the config's section `decoding`, under that key.
        whose: the pool or speaker, for the record and the log.
        weights: input, the full-precision base.
        description: input, its JSON.
        cuts: input, with features.
        labelled: output, the same cuts with other texts; `custom["transcript"]` has the transcript.
        record: output, the run record.
        corpus: name of the corpus, for the record.

    Raises:
        SamlError: a file is missing or damaged, or the model writes no capitals.
    """
    recogniser, content = load_model(weights, description)
    run = RunRecord(
        stage="label",
        experiment=experiment,
        speaker=whose,
        settings=settings,
        corpus=corpus,
        family=content["family"],
    )
    if recogniser.tokeniser.decode(recogniser.tokeniser.encode("A")) != "A":
        raise SamlError(f"{weights}: writes no capitals; set model.whisper.text_style to plain")
    make_deterministic()
    as_module(recogniser).to(device())
    chosen = read_cuts(cuts)
    with Progress(f"labelling {whose}", len(chosen)) as progress:
        outputs = best_outputs(
            recogniser, chosen, typed(DecodingSettings, settings), progress, whole_context=True
        )
    write_labels(chosen, [output.text for output in outputs], labelled)
    run.score("utterances", len(chosen))
    run.write(record)


def write_labels(cuts: Sequence[MonoCut], texts: Sequence[str], labelled: Path) -> None:
    """Write `cuts` with their transcripts in the form that the model's own `texts` of them have."""
    for cut, text in zip(cuts, texts, strict=True):
        supervision = cut.supervisions[0]
        supervision.custom = {**(supervision.custom or {}), "transcript": supervision.text}
        supervision.text = in_models_style(supervision.text, text)
    write_manifest(CutSet.from_items(cuts), labelled)
