"""The recordings behind utterances, for the players of a page: inside the page, or beside it."""

import base64
import gzip
import io
import json
import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import soundfile

from saml.runtime.layout import SPEECH, place

# Kinds of file that browsers play.
PLAYABLE = (".flac", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".wav", ".webm")


@dataclass(frozen=True)
class Clip:
    """Where an utterance was recorded: `seconds` of a file from `start` on, or all of it (`whole`)."""

    path: Path
    start: float
    seconds: float
    whole: bool


def clips(results: Path, speaker: str) -> dict[str, Clip]:
    """The recording of each utterance of a target speaker; none where the manifest is not readable.

    A page is complete without sound, so nothing here is an error.
    """
    path = place(results, SPEECH, speaker=speaker) / "cuts.jsonl.gz"
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        return {cut["id"]: _clip(cut) for cut in map(json.loads, lines)}
    except (OSError, EOFError, ValueError, LookupError, TypeError):
        return {}


def embedded(clip: Clip) -> str | None:
    """The clip as a data URL; None if its file is missing or cannot be read."""
    try:
        if clip.whole and clip.path.suffix.lower() in PLAYABLE:
            return data_url(clip.path)
        with soundfile.SoundFile(clip.path) as file:
            file.seek(round(clip.start * file.samplerate))
            samples = file.read(round(clip.seconds * file.samplerate), dtype="float32")
            stream = io.BytesIO()
            soundfile.write(stream, samples, file.samplerate, format="FLAC")
    except (OSError, RuntimeError, ValueError):
        return None
    return f"data:audio/flac;base64,{base64.b64encode(stream.getvalue()).decode()}"


def data_url(path: Path) -> str:
    """A file as an address that contains it."""
    kind = mimetypes.guess_type(path.name)[0] or "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def linked(clip: Clip, folder: Path) -> str | None:
    """The address of the clip for a page in `folder`, relative to it; None where no browser can play it."""
    if clip.path.suffix.lower() not in PLAYABLE or not clip.path.is_file():
        return None
    address = quote(os.path.relpath(clip.path.resolve(), folder.resolve()))
    return address if clip.whole else f"{address}#t={clip.start:.2f},{clip.start + clip.seconds:.2f}"


def _clip(cut: dict[str, Any]) -> Clip:
    recording = cut["recording"]
    start, seconds = float(cut["start"]), float(cut["duration"])
    whole = start == 0 and abs(seconds - float(recording["duration"])) < 0.01
    return Clip(Path(recording["sources"][0]["source"]), start, seconds, whole)
