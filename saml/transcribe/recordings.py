"""Transcription of audio files with a model and an optional adapter.

`saml transcribe` prints one line per recording, its file and its text. Audio is processed as in the pipeline:
any format of docs/audio-files.md, converted to 16 kHz mono, log-mel features as in the model's description.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import MonoCut

from saml.audio import SAMPLING_RATE
from saml.audio.reader import read_audio
from saml.corpora.audio import describe
from saml.corpora.utterance_checks import warn
from saml.decoding.transcription import Search, adapted, best_outputs, load_given
from saml.features.log_mel import SHORTEST_SECONDS, LogMel, LogMelConfig, feature_config
from saml.features.store import ArchiveWriter, store_features
from saml.models.recogniser import Recogniser, as_module
from saml.models.store import load_model
from saml.runtime.devices import device, make_deterministic
from saml.runtime.errors import SamlError, about

# A Conformer takes what it was trained on, and this in any case: its memory grows with the square.
_LONGEST_SECONDS = 20.0


def transcribe_files(
    *,
    files: Sequence[Path],
    weights: Path,
    description: Path | None = None,
    adapter: Path | None = None,
    adapter_description: Path | None = None,
    fold: int = 0,
    beams: int = 4,
    guard: bool = True,
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
        guard: decode texts that repeat themselves again (see `saml.decoding.looping`).

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
        cuts = list(_cuts(files, features, _longest(content, features), Path(folder)))
        outputs = best_outputs(recogniser, cuts, _search(beams, guard), whole_context=stored is None)
    return [(path, output.text) for path, output in zip(files, outputs, strict=True)]


def _search(beams: int, guard: bool) -> Search:
    """The search of the default configuration."""
    return Search(beams=beams, batch_seconds=120, max_tokens_per_second=30.0, ctc_weight=0.0, guard=guard)


def print_texts(**options: object) -> None:
    """Run `transcribe_files` and print a line per file, with a tab between file and text."""
    for path, text in transcribe_files(**options):  # type: ignore[arg-type]
        print(f"{path}\t{text}")


def _cuts(files: Sequence[Path], config: LogMelConfig, longest: float, folder: Path) -> Iterator[MonoCut]:
    """A cut with features for each file; features are written to `folder`."""
    extractor = LogMel(config)
    with ArchiveWriter(folder / "features.bin") as archive:
        for index, path in enumerate(files):
            samples = _read(path, longest)
            recording = describe(path, f"{index:06d}", len(samples))
            cut = MonoCut(
                id=recording.id, start=0.0, duration=recording.duration, channel=0, recording=recording
            )
            yield store_features(cut, samples, extractor, archive)


def _read(path: Path, longest: float) -> np.ndarray:
    """The audio of a file, `(samples,)` at 16 kHz. Of a file that is too long no more than that is kept."""
    blocks: list[np.ndarray] = []
    kept = 0

    def keep(block: np.ndarray) -> None:
        nonlocal kept
        if kept <= longest * SAMPLING_RATE:
            blocks.append(block)
            kept += len(block)

    audio = read_audio(path, keep)
    warn(path, audio.warning)
    if audio.seconds < SHORTEST_SECONDS:
        raise SamlError(f"{path}: lasts {audio.seconds:.3f} s, which is too short for speech")
    if audio.seconds > longest:
        raise SamlError(
            f"{path}: lasts {audio.seconds:.1f} s, longer than the model takes ({longest:g} s); cut "
            "it at pauses"
        )
    return np.concatenate(blocks)


def _longest(content: Mapping[str, Any], config: LogMelConfig) -> float:
    """The longest recording in seconds that a model takes: Whisper's context, or what it was trained on."""
    return config.pad_seconds or max(content.get("longest_seconds") or 0.0, _LONGEST_SECONDS)
