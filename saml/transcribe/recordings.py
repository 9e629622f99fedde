"""Text of new recordings: what a person does with a model, and with an adapter to it.

`saml transcribe` writes one line a recording, its file and its text. Audio goes the way of the pipeline: any
format that libsndfile reads, made 16 kHz mono, log-mel features as the model's description has them.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lhotse import MonoCut

from saml.adapters.adapted import AdaptedRecogniser
from saml.corpora.audio import as_recording, duration, fault
from saml.decoding.transcription import Search, transcribe, with_adapter
from saml.features.archive import ArchiveWriter
from saml.features.log_mel import SHORTEST_SECONDS, LogMel, LogMelConfig, feature_config, store_features
from saml.models.store import load_model
from saml.runtime.errors import SamlError, about
from saml.training.common import make_deterministic

# Those of the default configuration.
_LIMITS = {"batch_seconds": 120, "max_tokens_per_second": 30.0}


def transcribe_files(
    *,
    files: Sequence[Path],
    weights: Path,
    description: Path | None = None,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    fold: int = 0,
    beams: int = 4,
) -> list[tuple[Path, str]]:
    """What is said in each of `files`, in their order.

    Args:
        files: recordings; each is heard whole, so it should be one utterance.
        weights: the model.
        description: its JSON; where it is None, the file beside `weights` that ends in .json.
        adapter: an adapter to that very model, or none.
        adapter_description: its JSON, likewise.
        fold: which of the adapter's folds, where it was trained in folds.
        beams: hypotheses kept; 1 is greedy search.

    Raises:
        SamlError: a file is no audio or is too long for the model, or model and adapter do not fit.
    """
    base, content = load_model(weights, description or weights.with_suffix(".json"))
    if adapter is not None:
        adapter_description = adapter_description or adapter.with_suffix(".json")
    make_deterministic()
    recogniser, stored = with_adapter(base, content, adapter, adapter_description)
    if isinstance(recogniser, AdaptedRecogniser) and stored is not None:
        if not 0 <= fold < len(stored.folds):
            raise SamlError(f"{adapter}: there is no fold {fold}; it has {len(stored.folds)}, counted from 0")
        with about(stored.path):
            recogniser.load_state(stored.folds[fold])
    features = feature_config({"family": content["family"], content["family"]: content["settings"]})
    with tempfile.TemporaryDirectory(prefix="saml-") as folder:
        cuts = list(_cuts(files, features, Path(folder)))
        texts = transcribe(recogniser, cuts, Search(beams=beams, **_LIMITS))
    return [(path, texts[cut.id]) for path, cut in zip(files, cuts, strict=True)]


def print_texts(**options: object) -> None:
    """The command: `transcribe_files`, printed as one line a file, with a tab between file and text."""
    for path, text in transcribe_files(**options):  # type: ignore[arg-type]
        print(f"{path}\t{text}")


def _cuts(files: Sequence[Path], config: LogMelConfig, folder: Path) -> Iterator[MonoCut]:
    """A cut with features for each file; what is made on the way lies in `folder`."""
    extractor = LogMel(config)
    with ArchiveWriter(folder / "features.bin") as archive:
        for index, path in enumerate(files):
            _refuse_bad(path, config)
            recording = as_recording(path, f"{index:06d}", folder / f"{index:06d}.flac")
            cut = MonoCut(
                id=recording.id, start=0.0, duration=recording.duration, channel=0, recording=recording
            )
            yield store_features(cut, extractor, archive)


def _refuse_bad(path: Path, config: LogMelConfig) -> None:
    reason = fault(path)
    if reason is not None:
        raise SamlError(f"{path}: the file {reason}")
    seconds = duration(path)
    if seconds < SHORTEST_SECONDS:
        raise SamlError(f"{path}: lasts {seconds:.3f} s, which is too short to hold speech")
    if config.pad_seconds is not None and seconds > config.pad_seconds:
        raise SamlError(
            f"{path}: lasts {seconds:.1f} s, longer than the model takes ({config.pad_seconds:g} s); cut it "
            "at pauses"
        )
