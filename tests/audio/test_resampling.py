"""Resampling block by block equals resampling at once, which is torchaudio's."""

import numpy as np
import pytest
import torch

from saml.audio.resampling import BlockResampler, can_resample, resample


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("size", [333, 5_000, 60_000])
def test_blocks_equal_the_whole(rate: int, size: int) -> None:
    signal = np.random.default_rng(rate).standard_normal(rate + 137).astype(np.float32)
    from torchaudio.functional import resample as reference  # after saml, which makes torchaudio importable

    expected = reference(torch.from_numpy(signal), rate, 16_000).numpy()
    resampler = BlockResampler(rate)
    blocks = [resampler.add(signal[start : start + size]) for start in range(0, len(signal), size)]
    found = np.concatenate([*blocks, resampler.finish()])
    # The function computes its kernel in single precision, the class that is used here in double precision.
    assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-4
    assert np.abs(found - resample(signal, rate)).max() < 2e-6


def test_nothing_is_nothing() -> None:
    assert resample(np.empty(0), 8_000).shape == BlockResampler(8_000).finish().shape == (0,)


def test_one_block_is_the_whole_to_the_bit() -> None:
    signal = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    resampler = BlockResampler(22_050)
    found = np.concatenate([resampler.add(signal), resampler.finish()])
    assert np.abs(found - resample(signal, 22_050)).max() < 1e-6


@pytest.mark.parametrize(("rate", "accepted"), [(8_000, True), (44_101, False), (1, False), (500_000, False)])
def test_rates(rate: int, accepted: bool) -> None:
    assert can_resample(rate) is accepted
