"""Speech that espeak-ng makes from given words: for the synthetic corpus, and beside a small real one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import Recording

from saml.corpora.audio import resample, write_recording
from saml.corpora.espeak import Voice, speak
from saml.corpora.grammar import letter_name
from saml.corpora.registry import folder_name
from saml.corpora.seeded import seeded
from saml.corpora.voices import voice_name

# The loudest sample before the seeded gain is applied; noise comes on top.
_PEAK = 0.7


def say(
    voice: Voice,
    lines: Sequence[tuple[str, Sequence[str]]],
    audio: Path,
    settings: Mapping[str, Any],
) -> list[Recording]:
    """Let a voice speak every (utterance id, words) into a FLAC file of its folder in `audio`.

    Words of one letter are spoken as the letter's name. `settings` has seed, and the spans gain_db and snr_db
    of level and background noise.
    """
    texts = [" ".join(_as_spoken(word, voice.language) for word in words) for _, words in lines]
    rate, spoken = speak(voice, texts)
    folder = audio / folder_name(voice_name(voice))
    recordings = []
    for (utterance, _), samples in zip(lines, spoken, strict=True):
        speech = resample(samples / np.float32(1 << 15), rate)
        path = folder / f"{folder_name(utterance)}.flac"
        recordings.append(write_recording(_in_a_room(speech, utterance, settings), utterance, path))
    return recordings


def _as_spoken(word: str, language: str) -> str:
    return letter_name(word, language) if len(word) == 1 and word.isalpha() else word


def _in_a_room(samples: np.ndarray, utterance: str, settings: Mapping[str, Any]) -> np.ndarray:
    """Give clean samples `(samples,)` a level and noise of the utterance's own, drawn from its id.

    The noise is Gaussian with a spectrum between white and pink (power as 1 / f^a, a from 0 to 1).
    """
    chance = np.random.default_rng(seeded(settings["seed"], "room", utterance))
    gain_db, snr_db = chance.uniform(*settings["gain_db"]), chance.uniform(*settings["snr_db"])
    speech = samples * (_PEAK * 10 ** (gain_db / 20) / np.abs(samples).max())
    # A power of two, cut to length afterwards: the transform of an unlucky length takes ten times as long.
    spectrum = np.fft.rfft(chance.standard_normal(1 << (len(speech) - 1).bit_length()))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (chance.uniform(0, 1) / 2)
    noise = np.fft.irfft(spectrum)[: len(speech)]
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (speech + noise).astype(np.float32)
