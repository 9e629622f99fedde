"""Transcripts as text, subtitles (SubRip, WebVTT) or JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FORMATS = ("text", "srt", "vtt", "json")
_SUFFIXES = {"text": ".txt", "srt": ".srt", "vtt": ".vtt", "json": ".json"}


@dataclass(frozen=True)
class Spoken:
    """What was said from `start` to `end`, in seconds.

    `guard` says whether the guard against loops was needed (see `saml.decoding.transcription.Output`).
    """

    start: float
    end: float
    text: str
    guard: str = ""


@dataclass(frozen=True)
class Transcript:
    """A recording, its duration in seconds, and what is said in it, segment by segment."""

    path: Path
    seconds: float
    segments: Sequence[Spoken]

    @property
    def text(self) -> str:
        """All of the text, in one line."""
        return " ".join(one.text for one in self.segments if one.text)


def written(transcript: Transcript, style: str) -> str:
    """A transcript in one of `FORMATS`, with its last line end."""
    if style == "text":
        return f"{transcript.text}\n"
    if style == "json":
        return json.dumps(as_json(transcript), ensure_ascii=False) + "\n"
    cues = [one for one in transcript.segments if one.text]
    if style == "srt":
        blocks = [
            f"{number}\n{_clock(one.start, ',')} --> {_clock(one.end, ',')}\n{one.text}\n"
            for number, one in enumerate(cues, start=1)
        ]
        return "\n".join(blocks)
    blocks = [f"{_clock(one.start, '.')} --> {_clock(one.end, '.')}\n{_escaped(one.text)}\n" for one in cues]
    return "\n".join(["WEBVTT\n", *blocks])


def as_json(transcript: Transcript) -> dict[str, object]:
    """A transcript as JSON's types; times in seconds."""
    return {
        "file": str(transcript.path),
        "seconds": round(transcript.seconds, 3),
        "text": transcript.text,
        "segments": [
            {"start": round(one.start, 3), "end": round(one.end, 3), "text": one.text, "guard": one.guard}
            for one in transcript.segments
        ],
    }


def place(folder: Path, recording: Path, style: str) -> Path:
    """The file of a transcript in `folder`: the recording's name, then the format's suffix."""
    name = "standard-input" if str(recording) == "-" else recording.name
    return folder / f"{name}{_SUFFIXES[style]}"


def _clock(seconds: float, point: str) -> str:
    """`hh:mm:ss`, the point and milliseconds."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, rest = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{point}{rest:03d}"


def _escaped(text: str) -> str:
    """Text of a WebVTT cue, where some characters would begin markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
