"""Transcription of audio files with a model and an optional adapter.

`saml transcribe` prints one line per recording, its file and its text. Audio is processed as in the pipeline:
any format of libsndfile, converted to 16 kHz mono, log-mel features as in the model's description.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lhotse import MonoCut

from saml.corpora.audio import as_recording, duration, fault
from saml.decoding.transcription import Search, adapted, load_given, transcribe
from saml.features.log_mel import SHORTEST_SECONDS, LogMel, LogMelConfig, feature_config
from saml.features.store import ArchiveWriter, store_features
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic
from saml.runtime.errors import SamlError, about

# Those of the default configuration.
_LIMITS = {"batch_seconds": 120, "max_tokens_per_second": 30.0, "ctc_weight": 0.0}


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
    """The text of each of `files`, in their order.

    Args:
        files: recordings of one utterance each.
        weights: the model.
        description: its JSON; None: the file beside `weights` with the suffix .json.
        adapter: an adapter of this model, or None.
        adapter_description: its JSON; None: the file beside `adapter` with the suffix .json.
        fold: index of the adapter's fold, if it was trained with cross-validation.
        beams: hypotheses kept; 1 is greedy search.

    Raises:
        SamlError: a file is not audio or is too long for the model, or model and adapter do not match.
    """
    base, content = load_model(weights, description or weights.with_suffix(".json"))
    if adapter is not None:
        adapter_description = adapter_description or adapter.with_suffix(".json")
    make_deterministic()
    stored = load_given(adapter, adapter_description, content)
    recogniser: Recogniser = base
    if stored is None:
        as_module(base).to(device())
    else:
        if not 0 <= fold < len(stored.folds):
            raise SamlError(f"{adapter}: there is no fold {fold}; it has {len(stored.folds)}, counted from 0")
        with_adapter = adapted(base, stored)
        with about(stored.path):
            with_adapter.load_state(stored.folds[fold])
        recogniser = with_adapter
    features = feature_config({"family": content["family"], content["family"]: content["settings"]})
    with tempfile.TemporaryDirectory(prefix="saml-") as folder:
        cuts = list(_cuts(files, features, Path(folder)))
        texts = transcribe(recogniser, cuts, Search(beams=beams, **_LIMITS))
    return [(path, texts[cut.id]) for path, cut in zip(files, cuts, strict=True)]


def print_texts(**options: object) -> None:
    """Run `transcribe_files` and print a line per file, with a tab between file and text."""
    for path, text in transcribe_files(**options):  # type: ignore[arg-type]
        print(f"{path}\t{text}")


def _cuts(files: Sequence[Path], config: LogMelConfig, folder: Path) -> Iterator[MonoCut]:
    """A cut with features for each file; converted audio and features are written to `folder`."""
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
        raise SamlError(f"{path}: lasts {seconds:.3f} s, which is too short for speech")
    if config.pad_seconds is not None and seconds > config.pad_seconds:
        raise SamlError(
            f"{path}: lasts {seconds:.1f} s, longer than the model takes ({config.pad_seconds:g} s); cut it "
            "at pauses"
        )
