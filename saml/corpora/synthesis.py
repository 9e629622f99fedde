"""Synthetic speech with random level and noise, for the synthetic corpus and to augment a small one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import Recording

from saml.audio.resampling import resample
from saml.corpora.audio import write_recording
from saml.corpora.espeak import Voice, speak
from saml.corpora.grammar import letter_name
from saml.corpora.registry import folder_name
from saml.corpora.sampling import stable_hash
from saml.corpora.voices import voice_name

# Peak before the seeded gain is applied; noise is added afterwards.
_PEAK = 0.7


def synthesise(
    voice: Voice,
    lines: Sequence[tuple[str, Sequence[str]]],
    audio: Path,
    settings: Mapping[str, Any],
) -> list[Recording]:
    """Synthesise every (utterance id, words) with a voice, as FLAC files in its folder in `audio`.

    Words of one letter are spoken as the letter's name. `settings` has `seed`, and the ranges `gain_db` and
    `snr_db` of level and background noise, in dB.
    """
    texts = [" ".join(ssml_word(word, voice.language) for word in words) for _, words in lines]
    rate, spoken = speak(voice, texts)
    folder = audio / folder_name(voice_name(voice))
    recordings = []
    for (utterance, _), samples in zip(lines, spoken, strict=True):
        speech = resample(samples / np.float32(1 << 15), rate)
        path = folder / f"{folder_name(utterance)}.flac"
        recordings.append(write_recording(with_level_and_noise(speech, utterance, settings), utterance, path))
    return recordings


def ssml_word(word: str, language: str) -> str:
    """A word as SSML: a single letter as its name, any other word unchanged."""
    return letter_name(word, language) if len(word) == 1 and word.isalpha() else word


def with_level_and_noise(samples: np.ndarray, utterance: str, settings: Mapping[str, Any]) -> np.ndarray:
    """Clean samples `(samples,)` at a level and with noise that are drawn from the utterance's id.

    The noise is Gaussian with a spectrum between white and pink (power as 1 / f^a, a from 0 to 1).
    """
    generator = np.random.default_rng(stable_hash(settings["seed"], "room", utterance))
    gain_db, snr_db = generator.uniform(*settings["gain_db"]), generator.uniform(*settings["snr_db"])
    speech = samples * (_PEAK * 10 ** (gain_db / 20) / np.abs(samples).max())
    # A power of two, cut to length afterwards: the transform of a prime length takes ten times as long.
    spectrum = np.fft.rfft(generator.standard_normal(1 << (len(speech) - 1).bit_length()))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (generator.uniform(0, 1) / 2)
    noise = np.fft.irfft(spectrum)[: len(speech)]
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (speech + noise).astype(np.float32)
