"""Resampling to 16 kHz, of whole signals and of blocks that follow each other."""

import math
from functools import cache

import numpy as np
import torch

from saml.audio import SAMPLING_RATE
from saml.compat.torchaudio import ensure

ensure()
from torchaudio.transforms import Resample  # noqa: E402

# Sampling rates that are accepted, and the largest resampling kernel. The kernel is small when the rate and
# 16 kHz have a large common divisor, and would fill the memory when they have none.
_RATES = range(4_000, 384_001)
_LARGEST_KERNEL = 1 << 25


def can_resample(rate: int) -> bool:
    """Whether audio at `rate` Hz is accepted."""
    common = math.gcd(rate, SAMPLING_RATE)
    return rate in _RATES and rate // common * (SAMPLING_RATE // common) <= _LARGEST_KERNEL


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Resample `(samples,)` from `rate` in Hz to float32 at 16 kHz."""
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if rate == SAMPLING_RATE or not len(samples):
        return samples
    return np.asarray(_resampler(rate)(torch.from_numpy(samples)).numpy())


class BlockResampler:
    """Resamples a signal block by block, to what `resample` gives for the whole, but for rounding.

    torchaudio's filter is finite: around each block some samples of its neighbours are filtered with it, and
    their part of the result is left out.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        common = math.gcd(rate, SAMPLING_RATE)
        self._old, self._new = rate // common, SAMPLING_RATE // common
        kernel = _resampler(rate)
        # Half the filter in samples (torchaudio, _get_sinc_resample_kernel), in whole periods, and one more.
        half = kernel.lowpass_filter_width * self._old / (min(self._old, self._new) * kernel.rolloff)
        self._context = (math.ceil(half / self._old) + 1) * self._old
        self._waiting = np.empty(0, np.float32)
        self._before = 0  # leading samples of `_waiting` that are resampled already

    def add(self, block: np.ndarray) -> np.ndarray:
        """The samples at 16 kHz that are settled with the next `block`, `(samples,)`."""
        self._waiting = np.concatenate([self._waiting, block])
        ready = (len(self._waiting) - self._before - self._context) // self._old * self._old
        if ready <= 0:
            return np.empty(0, np.float32)
        end = self._before + ready
        done = resample(self._waiting[: end + self._context], self._rate)
        result = done[self._scaled(self._before) : self._scaled(end)]
        keep = min(end, self._context)
        self._waiting, self._before = self._waiting[end - keep :], keep
        return result

    def finish(self) -> np.ndarray:
        """The rest of the signal."""
        done = resample(self._waiting, self._rate)[self._scaled(self._before) :]
        self._waiting, self._before = np.empty(0, np.float32), 0
        return done

    def _scaled(self, samples: int) -> int:
        return samples // self._old * self._new


@cache
def _resampler(rate: int) -> Resample:
    """Cached, because computing the kernel takes longer than applying it."""
    return Resample(rate, SAMPLING_RATE)
