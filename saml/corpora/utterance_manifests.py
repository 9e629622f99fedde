"""Manifests of a corpus whose utterances have files of their own: a recording and a supervision for each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from saml.corpora.registry import folder_name
from saml.corpora.utterance_checks import Prepared, copies_of, read_recordings
from saml.corpora.utterances import Utterance, limit_heldout, pool_parts, with_progress
from saml.runtime.progress import Progress


def utterance_manifests(
    rows: Sequence[Utterance],
    settings: Mapping[str, Any],
    corpus: str,
    audio: Path,
    *,
    language: str | None = None,
    headers: bool = False,
) -> Prepared:
    """Recordings and supervisions of the rows with usable audio, and the utterances left out.

    Args:
        rows: the utterances, each with the role of its speaker.
        settings: the config's section `corpus`.
        corpus: its name; of its own section `heldout_utterances`, `dev_share` and `seed` are used.
        audio: folder for the copies of files that are not 16 kHz mono.
        language: of the utterances.
        headers: see `read_recordings`.

    Raises:
        SamlError: a pool is left without training utterances; as `read_recordings`.
    """
    own = settings[corpus]
    rows = limit_heldout(rows, own["heldout_utterances"], own["seed"])
    with Progress("checking audio", len(rows)) as progress:
        kept, dropped = read_recordings(
            with_progress(rows, progress),
            settings["on_bad_utterance"],
            lambda row: audio / folder_name(row.speaker) / f"{folder_name(row.utterance)}.flac",
            headers=headers,
        )
    parts = pool_parts([read.row for read in kept], own["dev_share"], own["seed"], copies_of(kept))
    supervisions = [
        utterance_supervision(read.row, read.recording, parts.get(read.row.utterance), language)
        for read in kept
    ]
    recordings = RecordingSet.from_items([read.recording for read in kept])
    return recordings, SupervisionSet.from_items(supervisions), dropped


def utterance_supervision(
    row: Utterance, recording: Recording, part: str | None, language: str | None = None
) -> SupervisionSegment:
    """The supervision of a whole recording; `custom` has role, part (in a pool) and the user's own file."""
    custom = {"role": row.role or "pool"} | ({"part": part} if part else {})
    # Messages name the file of the user, not the copy that was converted or synthesised.
    if row.path.name and str(row.path) != recording.sources[0].source:
        custom["file"] = str(row.path)
    return SupervisionSegment(
        id=row.utterance,
        recording_id=recording.id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        text=row.text,
        language=language,
        speaker=row.speaker,
        custom=custom,
    )
