"""Formats of transcripts, each against a file written by hand by its specification."""

import json
from pathlib import Path

from saml.transcribe.writing import Spoken, Transcript, place, written

TALK = Transcript(
    Path("talks/one.m4a"),
    3725.5,
    [
        Spoken(0.44, 29.4799, "It's <b>pretty</b> simple & short."),
        Spoken(61.0, 62.0, ""),
        Spoken(3599.9996, 3725.25, "\u732b, she said.", "context"),
    ],
)


def test_text_is_one_line() -> None:
    assert written(TALK, "text") == "It's <b>pretty</b> simple & short. \u732b, she said.\n"


def test_subrip() -> None:
    """Cues are numbered from 1, times have a comma; what has no text is no cue."""
    assert written(TALK, "srt") == (
        "1\n00:00:00,440 --> 00:00:29,480\nIt's <b>pretty</b> simple & short.\n\n"
        "2\n01:00:00,000 --> 01:02:05,250\n\u732b, she said.\n"
    )


def test_webvtt() -> None:
    """A header; times have a point; characters of markup are written as entities."""
    assert written(TALK, "vtt") == (
        "WEBVTT\n\n00:00:00.440 --> 00:00:29.480\nIt's &lt;b&gt;pretty&lt;/b&gt; simple &amp; short.\n\n"
        "01:00:00.000 --> 01:02:05.250\n\u732b, she said.\n"
    )


def test_json_has_times_and_every_segment() -> None:
    [line] = written(TALK, "json").splitlines()
    read = json.loads(line)
    assert (read["file"], read["seconds"]) == ("talks/one.m4a", 3725.5)
    assert read["text"] == "It's <b>pretty</b> simple & short. \u732b, she said."
    assert [(one["start"], one["end"], one["guard"]) for one in read["segments"]] == [
        (0.44, 29.48, ""),
        (61.0, 62.0, ""),
        (3600.0, 3725.25, "context"),
    ]


def test_nothing_said() -> None:
    silent = Transcript(Path("silence.wav"), 40.0, [])
    assert [written(silent, style) for style in ("text", "srt", "vtt")] == ["\n", "", "WEBVTT\n"]


def test_a_file_is_called_as_its_recording() -> None:
    """With its suffix: one.wav and one.mp3 are two recordings."""
    assert place(Path("out"), Path("talks/one.m4a"), "srt") == Path("out/one.m4a.srt")
    assert place(Path("out"), Path("-"), "text") == Path("out/standard-input.txt")
