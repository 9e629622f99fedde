"""The synthetic corpus: GRID-style sentences spoken by espeak-ng.

A speaker is a voice (`voices`); sentences belong to parts (`grammar`). Everything depends on the seed and the
names alone: an additional voice or utterance does not change the others. Each utterance gets its own level
and faint coloured noise, so that two utterances of a word differ.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from saml.corpora.espeak import Voice
from saml.corpora.grammar import Sentence, code, sentences
from saml.corpora.synthesis import synthesise
from saml.corpora.utterance_checks import Prepared, check_target
from saml.corpora.voices import pool_voices, target_voice, voice_name
from saml.runtime.errors import SamlError
from saml.runtime.progress import Progress


def prepare_corpus(settings: Mapping[str, Any], audio: Path) -> Prepared:
    """Synthesise the pools: base, pretrain, heldout. No utterance is dropped.

    Raises SamlError when the config needs more voices or sentences than there are.
    """
    own = settings["spoken_commands"]
    plan = [
        (voice, role, parts)
        for role in ("base", "pretrain", "heldout")
        for voice, parts in pool_plan(role, own[role], own["seed"])
    ]
    collected = _Collected()
    with Progress("synthesising", len(plan)) as progress:
        for done, (voice, role, parts) in enumerate(plan, start=1):
            _speak(voice, role, parts, own, audio, collected)
            progress.update(done, voice_name(voice))
    return collected.manifests()


def prepare_speaker(
    settings: Mapping[str, Any],
    speaker: str,
    recordings: RecordingSet,
    supervisions: SupervisionSet,
    audio: Path,
) -> Prepared:
    """Synthesise one target speaker: the voice that its name describes. `recordings` is not used.

    Raises SamlError when the name describes no voice or one of the pools', or espeak rejects the voice.
    """
    own = settings["spoken_commands"]
    check_target(speaker, supervisions)
    voice = voice_of_target(speaker)
    collected = _Collected()
    _speak(voice, "target", dict(own["target"]), own, audio, collected)
    return collected.manifests()


def voice_of_target(speaker: str) -> Voice:
    """The voice of a target speaker.

    Raises SamlError when the name describes no voice, one of the pools', or is not the usual way to write it.
    """
    voice = target_voice(speaker)
    if voice_name(voice) != speaker:
        raise SamlError(f"speaker {speaker}: write this voice as {voice_name(voice)}")
    return voice


class _Collected:
    """Recordings and supervisions, in the order of synthesis."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.supervisions: list[SupervisionSegment] = []

    def manifests(self) -> Prepared:
        return RecordingSet.from_items(self.recordings), SupervisionSet.from_items(self.supervisions), []


def pool_plan(role: str, settings: Mapping[str, int], seed: int) -> list[tuple[Voice, dict[str, int]]]:
    """For each voice, the number of sentences of each part.

    base: the last `dev_voices` voices speak the dev part, the others the train part. pretrain: every voice
    speaks both, `dev_sentences` of its sentences are dev. heldout: test.

    Raises SamlError when there are too few voices, or nothing is left to train on.
    """
    voices, count = pool_voices(role, settings["voices"], seed), settings["sentences"]
    dev_voices = settings["dev_voices"] if role == "base" else 0
    dev = settings["dev_sentences"] if role == "pretrain" else 0
    if dev_voices >= len(voices) or dev >= count:
        raise SamlError(
            f"corpus.spoken_commands.{role}: the dev part must be smaller than the whole; reduce it"
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
    collected: _Collected,
) -> None:
    """Synthesise the given number of sentences of each part, into FLAC files in the voice's folder."""
    seed, speaker = settings["seed"], voice_name(voice)
    lines = [
        (part, sentence)
        for part, count in parts.items()
        for sentence in sentences(speaker, role, part, count, seed)
    ]
    utterances = [f"{speaker}-{code(sentence)}" for _, sentence in lines]
    recordings = synthesise(
        voice, list(zip(utterances, (words for _, words in lines), strict=True)), audio, settings
    )
    for (part, sentence), recording in zip(lines, recordings, strict=True):
        collected.recordings.append(recording)
        collected.supervisions.append(_supervision(recording, speaker, sentence, role, part))


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
