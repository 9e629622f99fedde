"""Log-mel features against other implementations."""

import numpy as np
import pytest
import soundfile
import torch
from lhotse.features.base import FeatureExtractor
from lhotse.qa import validate_cut

from saml.features.batching import collate
from saml.features.log_mel import LogMel, LogMelConfig, feature_config
from saml.features.store import load_features
from saml.runtime.errors import SamlError
from tests.features.cuts import speechlike, stored


def transformers_whisper(samples, seconds):
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(chunk_length=seconds)
    return extractor(samples, sampling_rate=16_000, return_tensors="pt")["input_features"][0].T


@pytest.mark.parametrize("seconds", [0.2, 1.234, 3.0, 6.98, 6.9999375, 7.0])
def test_whisper_equals_transformers(tmp_path, seconds):
    config = LogMelConfig("whisper", pad_seconds=7)
    (cut,) = stored(tmp_path, config, [seconds])
    batch, lengths = collate([cut])
    expected = transformers_whisper(soundfile.read(cut.recording.sources[0].source, dtype="float32")[0], 7)
    assert batch.shape == (1, 700, 80) and batch.dtype == torch.float32
    assert (batch[0] - expected).abs().max() < 1e-4
    # The silence after the end does not count as frames of the utterance.
    assert lengths.tolist() == [int(seconds * 100 + 0.5)]


def test_whisper_equals_transformers_for_silence(tmp_path):
    silence = LogMel(LogMelConfig("whisper", pad_seconds=7)).extract(np.zeros(16_000), 16_000)
    expected = transformers_whisper(np.zeros(16_000, dtype=np.float32), 7)
    assert np.abs(silence[-1] - expected[-1].numpy()).max() < 1e-6


def test_whisper_stores_what_is_not_silence(tmp_path):
    (cut,) = stored(tmp_path, LogMelConfig("whisper", pad_seconds=30), [1.0])
    assert 100 <= cut.features.num_frames <= 104
    assert cut.num_frames == 100


def test_whisper_without_a_length_pads_to_the_longest(tmp_path):
    cuts = stored(tmp_path, LogMelConfig("whisper", pad_seconds=None), [1.0, 2.0])
    batch, lengths = collate(cuts)
    assert lengths.tolist() == [100, 200]
    alone, _ = collate(cuts[:1])
    assert torch.equal(batch[0, : alone.shape[1]], alone[0])
    assert torch.equal(batch[0, -1], alone[0, -1])


def test_whisper_with_a_short_tail(tmp_path):
    """Half a second of silence in place of full padding, and at most the full length."""
    cuts = stored(tmp_path, LogMelConfig("whisper", pad_seconds=7, tail_seconds=0.5), [1.0, 6.8])
    (tmp_path / "whole").mkdir()
    whole = stored(tmp_path / "whole", LogMelConfig("whisper", pad_seconds=7), [1.0])
    short, lengths = collate(cuts[:1])
    assert short.shape == (1, 150, 80) and lengths.tolist() == [100]
    assert torch.equal(short, collate(whole)[0][:, :150])
    assert collate(cuts[1:])[0].shape == (1, 700, 80)


def test_whisper_refuses_what_is_longer_than_its_length():
    with pytest.raises(SamlError, match="audio of 7.1 s is longer than the model's 7 s"):
        LogMel(LogMelConfig("whisper", pad_seconds=7)).extract(speechlike(7.1), 16_000)


def test_conformer_is_a_normalised_log_mel(tmp_path):
    seconds = [0.2, 1.2345, 2.0]
    cuts = stored(tmp_path, LogMelConfig("conformer"), seconds)
    for cut in cuts:
        matrix = load_features([cut])[cut.id]
        assert matrix.dtype == torch.float32
        assert matrix.shape == (cut.num_frames, 80) == (int(cut.duration * 100 + 0.5), 80)
        assert matrix.mean(dim=0).abs().max() < 1e-4
        assert (matrix.var(dim=0, correction=0) - 1).abs().max() < 1e-3
        validate_cut(cut, read_data=True)


def test_conformer_against_a_plain_computation():
    samples = speechlike(1.0)
    ours = LogMel().extract(samples, 16_000)
    # A window at a time: frame t is centred at sample 160 t; edges are mirrored.
    padded = np.pad(samples.astype(np.float64), 256, mode="reflect")
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.array([np.abs(np.fft.rfft(padded[160 * t : 160 * t + 512] * window)) ** 2 for t in range(100)])

    def mel(hertz):
        return 2595 * np.log10(1 + hertz / 700)

    edges = 700 * (10 ** (np.linspace(mel(20), mel(8000), 82) / 2595) - 1)
    bins = np.arange(257) * 16_000 / 512
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    logarithm = np.log(np.maximum(power @ np.maximum(0, np.minimum(rising, falling)), 1e-8))
    expected = (logarithm - logarithm.mean(axis=0)) / np.sqrt(logarithm.var(axis=0) + 1e-5)
    assert np.abs(ours - expected).max() < 2e-3


def test_conformer_features_do_not_depend_on_the_level():
    samples = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    quiet, loud = (LogMel().extract(samples * gain, 16_000) for gain in (0.25, 1.0))
    assert np.abs(quiet - loud).max() < 1e-3


def test_the_extractor_is_known_to_lhotse():
    extractor = LogMel(LogMelConfig("whisper", pad_seconds=7.0))
    again = FeatureExtractor.from_dict(extractor.to_dict())
    assert isinstance(again, LogMel) and again.config == extractor.config
    with pytest.raises(SamlError, match="resample first"):
        extractor.extract(speechlike(1.0), 8_000)


def test_features_depend_on_the_family():
    model = {
        "family": "conformer",
        "conformer": {"hidden_size": 8},
        "whisper": {"features": {"bins": 80, "pad_seconds": 7, "tail_seconds": None}},
    }
    assert feature_config(model) == LogMelConfig("conformer", 80, None)
    assert feature_config({**model, "family": "whisper"}) == LogMelConfig("whisper", 80, 7)
    with pytest.raises(SamlError, match="family 'rnn'"):
        feature_config({"family": "rnn", "rnn": {}})
