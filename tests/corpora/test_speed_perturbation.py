"""Speed perturbation: pitch and duration change together, in the train part only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from scipy.signal import resample_poly

from saml.corpora.speed_perturbation import perturb_speeds


@pytest.fixture
def sine(tmp_path: Path) -> Recording:
    """Three seconds of 440 Hz."""
    path = tmp_path / "sine.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000), 16_000)
    return Recording.from_file(path)


def cut_of(recording: Recording, part: str, start: float = 0.0, seconds: float = 3.0) -> MonoCut:
    """An utterance in a recording that may be longer."""
    spoken = SupervisionSegment(
        "u", recording.id, 0.0, seconds, text="one", speaker="a", custom={"synthetic": "commands"}
    )
    custom: dict[str, Any] = {"part": part}
    return MonoCut("u", start, seconds, 0, recording=recording, supervisions=[spoken], custom=custom)


def pitch(samples: np.ndarray) -> float:
    """The frequency with the most energy, in Hz, to 1 Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 16_000))
    return float(spectrum.argmax())


def test_length_and_pitch_move_together(sine: Recording) -> None:
    slow, same, fast = perturb_speeds([cut_of(sine, "train")], [0.9, 1.0, 1.1])
    assert [cut.id for cut in (slow, same, fast)] == ["u_sp0.9", "u", "u_sp1.1"]
    assert [cut.num_samples for cut in (slow, same, fast)] == [53_333, 48_000, 43_636]
    assert [pitch(cut.load_audio()[0, :16_000]) for cut in (slow, same, fast)] == [396, 440, 484]
    for cut in (slow, fast):
        assert cut.custom == {"part": "train"} and cut.supervisions[0].text == "one"
        assert cut.supervisions[0].speaker == "a" and cut.supervisions[0].custom == {"synthetic": "commands"}


def test_the_waveform_is_resampled(sine: Recording) -> None:
    """As by scipy, with another filter; for a segment of a longer recording, as in TED-LIUM."""
    (fast,) = perturb_speeds([cut_of(sine, "train", start=0.5, seconds=2.0)], [1.1])
    expected = resample_poly(cut_of(sine, "train", start=0.5, seconds=2.0).load_audio()[0], 10, 11)
    samples = fast.load_audio()[0]
    assert abs(len(samples) - len(expected)) <= 1
    inner = slice(200, len(samples) - 200)
    assert np.abs(samples[inner] - expected[: len(samples)][inner]).max() < 5e-3


def test_only_the_train_part_has_copies(sine: Recording) -> None:
    parts = ["train", "dev", "test"]
    cuts = [cut_of(sine, part) for part in parts]
    copies = perturb_speeds(cuts, [0.9, 1.0])
    assert [(cut.custom or {})["part"] for cut in copies] == ["train", "train", "dev", "test"]
    assert perturb_speeds(cuts, None) == cuts
