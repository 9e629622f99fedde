"""A look at a signal while it is read: silence, constants, channels that cancel, numbers that are none."""

import hashlib

import numpy as np

from saml.audio import SAMPLING_RATE

# Full scale is 1, which floating-point files can exceed; beyond this limit squares could overflow.
_LOUDEST = 1e6
# From the lowest to the highest sample: eight steps of 16 bits. A microphone's noise is more.
_SILENT_RANGE = 2.5e-4
# The energy of the mean of channels that say different things is the sum of theirs over the number squared.
# Less than a tenth of that is left only where they cancel.
_CANCELLED = 0.1
# Speech moves by more than -60 dB of full scale within 10 ms; a recording with less than 50 ms of that has
# no word. Judged from 0.2 s on.
_FRAME = SAMPLING_RATE // 100
_ACTIVE_RANGE = 1e-3
_ACTIVE_SECONDS = 0.05
_JUDGED_SECONDS = 0.2


class Inspector:
    """Collects what is wrong with the signal of a recording, block by block.

    `finite`: whether all samples so far are finite numbers.
    """

    def __init__(self, channels: int) -> None:
        self._channels = np.zeros(channels)
        self._mono = 0.0
        self.finite = True
        self._lowest, self._highest = np.inf, -np.inf
        self._active = self._seen = 0
        self._rest = np.empty(0, np.float32)
        self._hash = hashlib.sha256()

    @property
    def checksum(self) -> str:
        """Of the mono signal at its own rate, 16 hexadecimal digits: equal for equal recordings."""
        return self._hash.hexdigest()[:16]

    def add_read(self, block: np.ndarray, mono: np.ndarray) -> None:
        """A block as decoded, `(samples, channels)`, and the mean of its channels, `(samples,)`."""
        self.finite = self.finite and bool(np.isfinite(block).all())
        self._hash.update(np.ascontiguousarray(mono).tobytes())
        if len(block) and self.finite:
            self._channels += np.square(block, dtype=np.float64).sum(axis=0)
            self._mono += float(np.square(mono, dtype=np.float64).sum())
            self._lowest = min(self._lowest, float(block.min()))
            self._highest = max(self._highest, float(block.max()))

    def add_converted(self, samples: np.ndarray) -> None:
        """A block as converted, `(samples,)` at 16 kHz."""
        self._seen += len(samples)
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // _FRAME * _FRAME
        frames = samples[:whole].reshape(-1, _FRAME)
        self._active += int((np.ptp(frames, axis=1) > _ACTIVE_RANGE).sum()) if whole else 0
        self._rest = samples[whole:]

    def fault(self) -> str | None:
        """What is wrong with the signal, in words that follow the file's name; None if nothing is."""
        if not self.finite:
            return "contains samples that are not finite"
        if max(-self._lowest, self._highest) > _LOUDEST:
            return "contains samples far beyond full scale"
        if self._seen <= _FRAME:
            return None  # its duration says enough
        if self._highest - self._lowest < _SILENT_RANGE:
            silent = max(-self._lowest, self._highest) < _SILENT_RANGE
            return "is silent" if silent else "is constant: no sound was recorded"
        count = len(self._channels)
        if self._mono < _CANCELLED * self._channels.sum() / count**2:
            return (
                f"has {count} channels that cancel each other in their mean; use channel "
                f"{int(self._channels.argmax()) + 1} alone, for example sox IN OUT remix "
                f"{int(self._channels.argmax()) + 1}"
            )
        seconds = self._active * _FRAME / SAMPLING_RATE
        if self._seen >= _JUDGED_SECONDS * SAMPLING_RATE and seconds < _ACTIVE_SECONDS:
            return f"is nearly empty: {seconds:.2f} s of it are louder than -60 dB of full scale"
        return None
