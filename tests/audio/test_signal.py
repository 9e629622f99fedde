"""What is found in a signal that a file contains."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from saml.audio.reader import Unusable, read_audio

RATE = 16_000
SPEECH = (0.1 * np.random.default_rng(4).standard_normal(RATE)).astype(np.float32)


def silence_with(samples: np.ndarray) -> np.ndarray:
    signal = np.zeros(2 * RATE, np.float32)
    signal[RATE : RATE + len(samples)] = samples
    return signal


BAD = {
    "silence": (np.zeros(RATE), "is silent"),
    "the last bit": (np.tile([2**-15, 0], RATE // 2), "is silent"),
    "a constant": (np.full(RATE, 0.25), "is constant: no sound was recorded"),
    "not a number": (np.where(np.arange(RATE) == 7, np.nan, SPEECH), "not finite"),
    "infinite": (np.where(np.arange(RATE) == 7, np.inf, SPEECH), "not finite"),
    "far beyond full scale": (1e9 * SPEECH, "far beyond full scale"),
    "opposite channels": (np.stack([SPEECH, -SPEECH], axis=1), "use channel 1 alone"),
    "opposite, one weaker": (np.stack([-0.8 * SPEECH, SPEECH], axis=1), "use channel 2 alone"),
    "a click": (silence_with(SPEECH[:20]), "is nearly empty: 0.01 s of it"),
}
GOOD = {
    "speech": SPEECH,
    "quiet": 0.01 * SPEECH,
    "with an offset": SPEECH + 0.3,
    "one silent channel": np.stack([SPEECH, np.zeros(RATE)], axis=1),
    "one of eight channels": np.stack([SPEECH, *np.zeros((7, RATE))], axis=1),
    "one of sixteen channels": np.stack([*np.zeros((15, RATE)), SPEECH], axis=1),
    "different channels": 0.1 * np.random.default_rng(5).standard_normal((RATE, 2)),
    "a word in silence": silence_with(SPEECH[:3_000]),
    "shorter than a window": SPEECH[:100],
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_speech_is_named(tmp_path: Path, name: str) -> None:
    samples, reason = BAD[name]
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(Unusable, match=reason):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("name", GOOD)
def test_what_may_be_speech_is_read(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "a.wav", GOOD[name], RATE, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav").samples == len(GOOD[name])


def test_a_signal_at_another_rate_is_judged_after_conversion(tmp_path: Path) -> None:
    """20 kHz in a file at 48 kHz: nothing of it is left at 16 kHz."""
    tone = 0.5 * np.sin(2 * np.pi * 20_000 * np.arange(48_000) / 48_000)
    soundfile.write(tmp_path / "a.wav", tone, 48_000, subtype="FLOAT")
    with pytest.raises(Unusable, match="is nearly empty"):
        read_audio(tmp_path / "a.wav")
