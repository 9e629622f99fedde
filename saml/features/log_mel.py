"""Log-mel features of both model families, as one lhotse extractor.

The config's `model` section decides which features are computed. `saml.features.store` keeps them on disk,
`saml.features.batching` puts them into batches.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saml.compat.torchaudio import ensure

ensure()
from lhotse.features import FeatureExtractor  # noqa: E402
from lhotse.features.base import register_extractor  # noqa: E402
from lhotse.utils import compute_num_frames  # noqa: E402
from torchaudio.functional import melscale_fbanks  # noqa: E402
from torchaudio.transforms import MelSpectrogram  # noqa: E402

from saml.audio import SAMPLING_RATE  # noqa: E402
from saml.features import FRAMES_A_SECOND  # noqa: E402
from saml.runtime.errors import SamlError  # noqa: E402

_HOP = SAMPLING_RATE // FRAMES_A_SECOND  # samples
_WINDOW = 400  # samples: 25 ms
# Shorter audio cannot be mirrored at the edges of the first window.
SHORTEST_SECONDS = 0.02


@dataclass(frozen=True)
class LogMelConfig:
    """What `LogMel` computes.

    Attributes:
        kind: "conformer" or "whisper".
        bins: mel bins.
        pad_seconds: whisper: the length in seconds that audio is padded to; None: no padding.
        tail_seconds: whisper: seconds of silence after the utterance, in place of padding to `pad_seconds`;
            None: full padding.
    """

    kind: str = "conformer"
    bins: int = 80
    pad_seconds: float | None = None
    tail_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For lhotse's manifests."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "LogMelConfig":
        """The inverse of `to_dict`."""
        return LogMelConfig(**data)


def feature_config(model: Mapping[str, Any]) -> LogMelConfig:
    """The features of the config's `model` section: Whisper's are its `features`, a Conformer's are fixed.

    Raises SamlError for another family.
    """
    family = model["family"]
    if family == "conformer":
        return LogMelConfig(kind="conformer", bins=80)
    if family == "whisper":
        return LogMelConfig(kind="whisper", **model["whisper"]["features"])
    raise SamlError(f"model.family: no features for family {family!r}; there are conformer, whisper")


def frame_count(config: LogMelConfig, seconds: float) -> int:
    """The number of frames that `LogMel` gives for so many seconds of audio."""
    if config.kind == "conformer":
        return int(compute_num_frames(seconds, _HOP / SAMPLING_RATE, SAMPLING_RATE))
    return _whisper_samples(config, round(seconds * SAMPLING_RATE)) // _HOP


def _whisper_samples(config: LogMelConfig, samples: int) -> int:
    """With one window of silence after the end, in whole hops, so that the last frame is silence only."""
    padded = -(-(samples + _WINDOW) // _HOP) * _HOP
    return padded if config.pad_seconds is None else min(padded, round(config.pad_seconds * SAMPLING_RATE))


@register_extractor
class LogMel(FeatureExtractor):
    """Log-mel spectrograms, 25 ms every 10 ms, of audio at 16 kHz.

    conformer: torchaudio's mel spectrogram, natural logarithm, every bin normalised to mean 0 and variance
    1 over the utterance. One row per frame as counted by lhotse.
    whisper: as Whisper was trained (openai/whisper, audio.py; transformers' WhisperFeatureExtractor): log10,
    floor 8 below the utterance's maximum, (x + 4) / 4. Rows continue until no window contains audio any more,
    so the last row is silence, and padding is its repetition (see `collate`).
    """

    name = "saml-log-mel"
    config_type = LogMelConfig

    def __init__(self, config: LogMelConfig | None = None) -> None:
        super().__init__(config)
        if self.config.kind not in ("conformer", "whisper"):
            raise SamlError(f"log-mel features: {self.config.kind!r} is neither conformer nor whisper")
        if self.config.kind == "whisper":
            self._window = torch.hann_window(_WINDOW)
            # (frequencies, bins); "slaney" scale and area normalisation, as in librosa, which Whisper used.
            self._filters = melscale_fbanks(
                _WINDOW // 2 + 1, 0.0, SAMPLING_RATE / 2, self.config.bins, SAMPLING_RATE, "slaney", "slaney"
            )
        else:
            self._mel = MelSpectrogram(
                SAMPLING_RATE,
                n_fft=512,
                win_length=_WINDOW,
                hop_length=_HOP,
                f_min=20.0,
                n_mels=self.config.bins,
            )

    @property
    def frame_shift(self) -> float:
        """Seconds from frame to frame."""
        return _HOP / SAMPLING_RATE

    def feature_dim(self, sampling_rate: int) -> int:
        """Number of mel bins."""
        return int(self.config.bins)

    def extract(self, samples: np.ndarray | Tensor, sampling_rate: int) -> np.ndarray:
        """Samples `(1, samples)` or `(samples,)` in [-1, 1] to features `(frames, bins)` float32.

        Raises SamlError when the sampling rate is not 16 kHz, or audio is longer than `pad_seconds`.
        """
        if sampling_rate != SAMPLING_RATE:
            raise SamlError(f"log-mel features need {SAMPLING_RATE} Hz, not {sampling_rate}; resample first")
        waveform = torch.as_tensor(samples, dtype=torch.float32).reshape(-1)
        with torch.inference_mode():
            features = self._whisper(waveform) if self.config.kind == "whisper" else self._conformer(waveform)
        return features.numpy()

    def padded_frames(self, frames: int) -> int | None:
        """The length to which `collate` pads an utterance of `frames` frames, repeating its last frame.

        None: it pads with zeros, to the longest utterance of the batch.
        """
        if self.config.kind != "whisper":
            return None
        longest = round((self.config.pad_seconds or 0.0) * SAMPLING_RATE) // _HOP
        if self.config.tail_seconds is None:
            return longest
        return min(longest, frames + round(self.config.tail_seconds * SAMPLING_RATE) // _HOP)

    def _conformer(self, waveform: Tensor) -> Tensor:
        frames = frame_count(self.config, len(waveform) / SAMPLING_RATE)
        mel = self._mel(waveform)[:, :frames].T  # (bins, 1 + samples // hop) -> (frames, bins)
        # The floor is about the rounding error of 16 bits in a window; below it there is no speech.
        logarithm = mel.clamp(min=1e-8).log()
        variance, mean = torch.var_mean(logarithm, dim=0, correction=0, keepdim=True)
        return (logarithm - mean) / (variance + 1e-5).sqrt()

    def _whisper(self, waveform: Tensor) -> Tensor:
        if self.config.pad_seconds is not None:
            longest = round(self.config.pad_seconds * SAMPLING_RATE)
            if len(waveform) > longest:
                raise SamlError(
                    f"audio of {len(waveform) / SAMPLING_RATE:.1f} s is longer than the model's "
                    f"{self.config.pad_seconds:g} s; leave it out or cut it"
                )
        samples = _whisper_samples(self.config, len(waveform))
        padded = torch.nn.functional.pad(waveform, (0, samples - len(waveform)))
        spectrum = torch.stft(padded, _WINDOW, _HOP, window=self._window, return_complex=True)
        # Whisper omits the last frame: (frequencies, 1 + samples / hop) -> (frames, frequencies)
        power = spectrum[:, :-1].abs().square().T
        logarithm = (power @ self._filters).clamp(min=1e-10).log10()
        return (torch.maximum(logarithm, logarithm.max() - 8.0) + 4.0) / 4.0
