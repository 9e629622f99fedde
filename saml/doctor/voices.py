"""Checks of the synthetic corpus for `saml doctor`: whether espeak-ng can speak what the first jobs want."""

from collections.abc import Iterator, Mapping
from typing import Any

from saml.corpora.espeak import speak
from saml.corpora.grammar import sentences
from saml.corpora.spoken_commands import pool_plan, voice_of_target
from saml.corpora.utterance_checks import POOLS
from saml.corpora.voices import voice_name
from saml.doctor.machine import Line
from saml.doctor.speakers import of_speaker
from saml.runtime.errors import SamlError


def voices(config: Mapping[str, Any]) -> Iterator[Line]:
    """The findings on voices and sentences of the pools, of target speakers and of tuning speakers."""
    own = config["corpus"]["spoken_commands"]
    for role in POOLS:
        try:
            for voice, parts in pool_plan(role, own[role], own["seed"]):
                _draw(voice_name(voice), role, parts, own["seed"])
        except SamlError as error:
            yield Line("fail", "corpus", str(error))
    failed = False
    for speaker in (*config["target_speakers"], *config["tuning"]["speakers"]):
        try:
            speak(voice_of_target(speaker), ["one"])
            _draw(speaker, "target", own["target"], own["seed"])
        except SamlError as error:
            line = of_speaker(config, speaker, error)
            failed = failed or line.status == "fail"
            yield line
    if not failed:
        count = len(config["target_speakers"])
        yield Line("ok", "corpus", f"espeak-ng has the voices of all {count} target speakers")


def _draw(speaker: str, role: str, parts: Mapping[str, int], seed: int) -> None:
    """Raise SamlError where a part has fewer sentences than the speaker is to speak."""
    for part, count in parts.items():
        sentences(speaker, role, part, count, seed)
