"""The corpus that the pipeline makes itself: GRID-style sentences spoken by espeak-ng.

A speaker is a voice (`_voices`); sentences belong to parts (`_grammar`). Everything follows from the seed
and the names: a voice or an utterance more leaves the others as they are. Speech is levelled, then mixed with
faint coloured noise of its own, so that two renderings of a word are not the same numbers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from saml.corpora.espeak import Voice
from saml.corpora.grammar import Sentence, code, sentences
from saml.corpora.synthesis import say
from saml.corpora.utterance_checks import Dropped, check_target
from saml.corpora.voices import pool_voices, target_voice, voice_name
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress

Made = tuple[RecordingSet, SupervisionSet, list[Dropped]]


def prepare_corpus(settings: Mapping[str, Any], audio: Path) -> Made:
    """Make the pools: base, pretrain, heldout. Nothing is ever left out.

    Raises SamlError where the config asks for more voices or sentences than there are.
    """
    own = settings["spoken_commands"]
    plan = [
        (voice, role, parts)
        for role in ("base", "pretrain", "heldout")
        for voice, parts in _pool_plan(role, own[role], own["seed"])
    ]
    made = _Collected()
    with Progress("speaking", len(plan)) as progress:
        for done, (voice, role, parts) in enumerate(plan, start=1):
            _speak(voice, role, parts, own, audio, made)
            progress.update(done, voice_name(voice))
    return made.manifests()


def prepare_speaker(
    settings: Mapping[str, Any],
    speaker: str,
    recordings: RecordingSet,
    supervisions: SupervisionSet,
    audio: Path,
) -> Made:
    """Make the speech of one target speaker: the voice that its name spells. `recordings` plays no part.

    Raises SamlError where the name spells no voice, or one that the pools have, or espeak refuses it.
    """
    own = settings["spoken_commands"]
    check_target(speaker, supervisions)
    voice = target_voice(speaker)
    if voice_name(voice) != speaker:
        raise SamlError(f"speaker {speaker}: write this voice as {voice_name(voice)}")
    made = _Collected()
    _speak(voice, "target", dict(own["target"]), own, audio, made)
    return made.manifests()


class _Collected:
    """Recordings and supervisions, in the order they were made."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.supervisions: list[SupervisionSegment] = []

    def manifests(self) -> Made:
        return RecordingSet.from_items(self.recordings), SupervisionSet.from_items(self.supervisions), []


def _pool_plan(role: str, settings: Mapping[str, int], seed: int) -> list[tuple[Voice, dict[str, int]]]:
    """Who speaks how many sentences of which part.

    base: the last `dev_voices` of the voices speak the dev part, the others the train part. pretrain: every
    voice speaks both, `dev_sentences` of its sentences being dev. heldout: test.
    """
    voices, count = pool_voices(role, settings["voices"], seed), settings["sentences"]
    dev_voices, dev = settings.get("dev_voices", 0), settings.get("dev_sentences", 0)
    if dev_voices >= len(voices) or dev >= count:
        raise SamlError(
            f"corpus.spoken_commands.{role}: the dev part must be smaller than the whole; lower it"
        )
    if role == "base":
        train_voices = len(voices) - dev_voices
        return [
            (voice, {"train" if place < train_voices else "dev": count}) for place, voice in enumerate(voices)
        ]
    parts = {"train": count - dev, "dev": dev} if role == "pretrain" else {"test": count}
    return [(voice, parts) for voice in voices]


def _speak(
    voice: Voice,
    role: str,
    parts: Mapping[str, int],
    settings: Mapping[str, Any],
    audio: Path,
    made: _Collected,
) -> None:
    """Let a voice speak so many sentences of each part, into FLAC files of its folder."""
    seed, speaker = settings["seed"], voice_name(voice)
    lines = [
        (part, sentence)
        for part, count in parts.items()
        for sentence in sentences(speaker, role, part, count, seed)
    ]
    utterances = [f"{speaker}-{code(sentence)}" for _, sentence in lines]
    recordings = say(
        voice, list(zip(utterances, (words for _, words in lines), strict=True)), audio, settings
    )
    for (part, sentence), recording in zip(lines, recordings, strict=True):
        made.recordings.append(recording)
        made.supervisions.append(_supervision(recording, speaker, sentence, role, part))


def _supervision(
    recording: Recording, speaker: str, sentence: Sentence, role: str, part: str
) -> SupervisionSegment:
    return SupervisionSegment(
        id=recording.id,
        recording_id=recording.id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        text=" ".join(sentence),
        speaker=speaker,
        custom={"role": role, "part": part},
    )
