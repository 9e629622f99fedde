"""Transcription of recordings with a model and optional adapters.

Audio is processed as in the pipeline: any format of docs/audio-files.md, converted to 16 kHz mono, log-mel
features as in the model's description. A recording that is longer than a segment may be is cut at pauses.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse import MonoCut

from saml.audio import SAMPLING_RATE
from saml.corpora.audio import describe
from saml.decoding.transcription import Output, Search, best_outputs
from saml.features.log_mel import LogMel
from saml.features.store import ArchiveWriter, store_features
from saml.runtime.devices import make_deterministic
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress
from saml.transcribe.models import Transcriber
from saml.transcribe.reading import Recorded, read_recording
from saml.transcribe.segments import Segment, speech_segments
from saml.transcribe.writing import Spoken, Transcript

# Recordings that are transcribed together, at most; they are written when they are done.
_SECONDS_TOGETHER = 900.0
# Less speech is transcribed before anybody asks how far it is.
_SECONDS_WITHOUT_PROGRESS = 60.0


@dataclass(frozen=True)
class Recording:
    """A recording to transcribe, and the index of its adapter."""

    path: Path
    adapter: int = 0


def transcripts(
    transcriber: Transcriber, recordings: Sequence[Recording], search: Search, longest: float
) -> Iterator[Transcript]:
    """The transcripts of recordings, in their order, those that are short many at a time.

    Args:
        transcriber: the model.
        recordings: of any length.
        search: of the decoding.
        longest: seconds of a segment; a recording of at most this length is one segment.

    Raises:
        SamlError: at the end, naming every recording that could not be read; the others are transcribed.
    """
    make_deterministic()
    failed: list[str] = []
    done = 0
    with tempfile.TemporaryDirectory(prefix="saml-") as folder:
        for group in _groups(recordings, Path(folder), failed):
            yield from _transcribe(transcriber, group, search, longest, Path(folder))
            done += len(group)
    if failed:
        others = f" | {done} of {len(recordings)} recordings are transcribed" if done else ""
        raise SamlError(" | ".join(failed) + others)


def _groups(
    recordings: Sequence[Recording], folder: Path, failed: list[str]
) -> Iterator[list[tuple[Recorded, int]]]:
    """Neighbouring recordings, each with its adapter, until they have enough speech; one at least."""
    group: list[tuple[Recorded, int]] = []
    seconds = 0.0
    for recording in recordings:
        try:
            read = read_recording(recording.path, folder)
        except SamlError as error:
            failed.append(str(error))
            continue
        if group and seconds + read.seconds > _SECONDS_TOGETHER:
            yield group
            group, seconds = [], 0.0
        group.append((read, recording.adapter))
        seconds += read.seconds
    if group:
        yield group


def _transcribe(
    transcriber: Transcriber,
    group: Sequence[tuple[Recorded, int]],
    search: Search,
    longest: float,
    folder: Path,
) -> list[Transcript]:
    """The transcripts of a group, decoded in the same batches."""
    pieces: list[tuple[int, Segment]] = []
    for index, (recorded, _) in enumerate(group):
        # Adapters are trained on single sentences, and most end the text after one (RESULTS.md).
        segments = _segments(recorded, longest, join=not transcriber.adapted)
        pieces += [(index, segment) for segment in segments]
    archive = folder / "features.bin"
    with ArchiveWriter(archive) as features:
        extractor = LogMel(transcriber.features)
        cuts = [
            _cut(group[index][0], segment, f"{number:08d}", extractor, features)
            for number, (index, segment) in enumerate(pieces)
        ]
    adapters = [group[index][1] for index, _ in pieces] if transcriber.adapted else None
    outputs = _decode(transcriber, cuts, search, adapters)
    spoken: list[list[Spoken]] = [[] for _ in group]
    for (index, segment), output in zip(pieces, outputs, strict=True):
        start, end = segment.start / SAMPLING_RATE, segment.stop / SAMPLING_RATE
        spoken[index].append(Spoken(start, end, output.text, output.guard))
    archive.unlink()
    return [
        Transcript(recorded.path, recorded.seconds, own)
        for (recorded, _), own in zip(group, spoken, strict=True)
    ]


def _segments(recorded: Recorded, longest: float, *, join: bool) -> list[Segment]:
    if recorded.seconds <= longest:
        return [Segment(0, len(recorded.samples))]
    return speech_segments(recorded.samples, longest, join=join)


def _cut(
    recorded: Recorded, segment: Segment, name: str, extractor: LogMel, archive: ArchiveWriter
) -> MonoCut:
    """A cut with features for a segment."""
    samples = recorded.samples[segment.start : segment.stop].numpy()
    recording = describe(recorded.path, name, len(samples))
    cut = MonoCut(id=name, start=0.0, duration=recording.duration, channel=0, recording=recording)
    return store_features(cut, samples, extractor, archive)


def _decode(
    transcriber: Transcriber, cuts: Sequence[MonoCut], search: Search, adapters: Sequence[int] | None
) -> list[Output]:
    """The output of each cut. A model without adapter hears its whole context, as in an experiment."""
    recogniser, whole = transcriber.recogniser, not transcriber.adapted
    if sum(cut.duration for cut in cuts) < _SECONDS_WITHOUT_PROGRESS:
        return best_outputs(recogniser, cuts, search, None, adapters, whole_context=whole)
    with Progress("transcribing, segments", len(cuts)) as progress:
        return best_outputs(recogniser, cuts, search, progress, adapters, whole_context=whole)
