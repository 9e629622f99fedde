"""Waveforms to log-mel, stored once; batches by length.

Both families' features come from one lhotse extractor, `LogMel`; the config's `model` section decides
which. A cut that went through `store_features` carries everything the training needs: `load_features` reads
a whole pool or speaker once, `batches` cuts it by length, `collate` pads a batch.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saml.compat.torchaudio import ensure

ensure()
from lhotse import MonoCut  # noqa: E402
from lhotse.audio.backend import audio_backend  # noqa: E402
from lhotse.features import FeatureExtractor, Features  # noqa: E402
from lhotse.features.base import register_extractor  # noqa: E402
from lhotse.utils import compute_num_frames  # noqa: E402
from torchaudio.functional import melscale_fbanks  # noqa: E402
from torchaudio.transforms import MelSpectrogram  # noqa: E402

from saml.features.archive import ArchiveWriter  # noqa: E402
from saml.features.batching import FRAMES_A_SECOND, padded_seconds  # noqa: E402
from saml.runtime.errors import SamlError  # noqa: E402

SAMPLING_RATE = 16_000
_HOP = SAMPLING_RATE // FRAMES_A_SECOND  # samples
_WINDOW = 400  # samples: 25 ms
# Fewer samples than this cannot be mirrored at the edges of the first window.
SHORTEST_SECONDS = 0.02

# Buckets hold this many batches, so that an epoch is well mixed and a batch is still of one length.
_BATCHES_PER_BUCKET = 8


@dataclass(frozen=True)
class LogMelConfig:
    """What `LogMel` computes.

    Attributes:
        kind: "conformer" or "whisper".
        bins: mel bins.
        pad_seconds: with whisper, the length that the model wants audio padded to; null: as long as it is.
        tail_seconds: with whisper, silence after the utterance in place of that length; null: all of it.
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
    """The features that the config's `model` section asks for: its family's, with `features` of that family.

    Raises SamlError for a family or a setting that does not exist.
    """
    family = model["family"]
    settings = dict(model[family].get("features") or {})
    defaults: dict[str, dict[str, Any]] = {
        "conformer": {"bins": 80},
        "whisper": {"bins": 80, "pad_seconds": 30.0, "tail_seconds": None},
    }
    if family not in defaults:
        raise SamlError(f"model.family: no features for family {family!r}; there are {', '.join(defaults)}")
    unknown = settings.keys() - defaults[family].keys()
    if unknown:
        raise SamlError(
            f"model.{family}.features: no setting {min(unknown)}; there are {', '.join(defaults[family])}"
        )
    return LogMelConfig(kind=family, **{**defaults[family], **settings})


@register_extractor
class LogMel(FeatureExtractor):
    """Log-mel spectrograms, 25 ms every 10 ms, of audio at 16 kHz.

    conformer: torchaudio's mel spectrogram, natural logarithm, every bin normalised to mean 0 and variance
    1 over the utterance. One row per frame that lhotse counts.
    whisper: what Whisper was trained on (openai/whisper, audio.py; transformers' WhisperFeatureExtractor):
    log10, floor 8 below the utterance's maximum, (x + 4) / 4. The rows go on until the audio and everything
    a window reaches is over: the last row is silence, and padding to any length is repeating it (`collate`
    does).
    """

    name = "saml-log-mel"
    config_type = LogMelConfig

    def __init__(self, config: LogMelConfig | None = None) -> None:
        super().__init__(config)
        if self.config.kind not in ("conformer", "whisper"):
            raise SamlError(f"log-mel features: {self.config.kind!r} is neither conformer nor whisper")
        if self.config.kind == "whisper":
            self._window = torch.hann_window(_WINDOW)
            # (frequencies, bins); the "slaney" scale and area norm are librosa's, which Whisper used.
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

        Raises SamlError where the sampling rate is not 16 kHz, or audio is longer than `pad_seconds`.
        """
        if sampling_rate != SAMPLING_RATE:
            raise SamlError(f"log-mel features want {SAMPLING_RATE} Hz, not {sampling_rate}; resample first")
        waveform = torch.as_tensor(samples, dtype=torch.float32).reshape(-1)
        with torch.inference_mode():
            features = self._whisper(waveform) if self.config.kind == "whisper" else self._conformer(waveform)
        return features.numpy()

    def padded_frames(self, frames: int) -> int | None:
        """How many frames `collate` pads an utterance of so many to, repeating its last; None: with zeros."""
        if self.config.kind != "whisper":
            return None
        longest = round((self.config.pad_seconds or 0.0) * SAMPLING_RATE) // _HOP
        if self.config.tail_seconds is None:
            return longest
        return min(longest, frames + round(self.config.tail_seconds * SAMPLING_RATE) // _HOP)

    def _conformer(self, waveform: Tensor) -> Tensor:
        frames = compute_num_frames(len(waveform) / SAMPLING_RATE, self.frame_shift, SAMPLING_RATE)
        mel = self._mel(waveform)[:, :frames].T  # (bins, 1 + samples // hop) -> (frames, bins)
        # The floor is about what the rounding to 16 bits leaves in a window: below it nothing is speech.
        logarithm = mel.clamp(min=1e-8).log()
        variance, mean = torch.var_mean(logarithm, dim=0, correction=0, keepdim=True)
        return (logarithm - mean) / (variance + 1e-5).sqrt()

    def _whisper(self, waveform: Tensor) -> Tensor:
        # One window of silence after the end, in whole hops: then the last row has seen silence only.
        samples = -(-(len(waveform) + _WINDOW) // _HOP) * _HOP
        if self.config.pad_seconds is not None:
            longest = round(self.config.pad_seconds * SAMPLING_RATE)
            if len(waveform) > longest:
                raise SamlError(
                    f"audio of {len(waveform) / SAMPLING_RATE:.1f} s is longer than the model's "
                    f"{self.config.pad_seconds:g} s; leave it out or cut it"
                )
            samples = min(samples, longest)
        padded = torch.nn.functional.pad(waveform, (0, samples - len(waveform)))
        spectrum = torch.stft(padded, _WINDOW, _HOP, window=self._window, return_complex=True)
        # Whisper leaves the last frame out: (frequencies, 1 + samples / hop) -> (frames, frequencies)
        power = spectrum[:, :-1].abs().square().T
        logarithm = (power @ self._filters).clamp(min=1e-10).log10()
        return (torch.maximum(logarithm, logarithm.max() - 8.0) + 4.0) / 4.0


def store_features(cut: MonoCut, extractor: LogMel, archive: ArchiveWriter) -> MonoCut:
    """The cut with its features computed, appended to `archive` and attached.

    The features may be some frames longer than the cut (see `LogMel`); `cut.num_frames` counts the real ones.
    """
    # By soundfile, which has read it to its end before: for SPHERE, lhotse wants a program of its own.
    with audio_backend("LibsndfileBackend"):
        samples = cut.load_audio()
    features = extractor.extract(samples, cut.sampling_rate)
    cut.features = Features(
        type=extractor.name,
        num_frames=features.shape[0],
        num_features=features.shape[1],
        frame_shift=extractor.frame_shift,
        sampling_rate=SAMPLING_RATE,
        start=cut.start,
        duration=round(features.shape[0] * extractor.frame_shift, ndigits=8),
        storage_type=archive.name,
        storage_path=archive.storage_path,
        storage_key=archive.write(cut.id, features),
        recording_id=cut.recording_id,
        channels=cut.channel,
    )
    padded = extractor.padded_frames(cut.num_frames)
    if padded is not None:
        cut.custom = {**(cut.custom or {}), "padded_frames": padded}
    return cut


def load_features(cuts: Iterable[MonoCut]) -> dict[str, Tensor]:
    """The features of every cut by its id, `(frames, bins)` float32, read from disk now."""
    return {cut.id: _load(cut) for cut in cuts}


def _load(cut: MonoCut) -> Tensor:
    # All that is stored, where cut.load_features() would leave out Whisper's silence after the end.
    return torch.from_numpy(cut.features.load())


def collate(cuts: Sequence[MonoCut], features: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """A padded batch of cuts.

    Args:
        cuts: the batch, with features.
        features: what `load_features` returned for these cuts and any others; else they are read from disk.

    Returns:
        Features `(batch, frames, bins)` float32, and the number of frames that hold the utterance,
        `(batch,)` int64. The conformer's padding is 0 (the mean of every bin); Whisper's is silence up to
        the length the model wants, which counts as no frame of the utterance.
    """
    matrices = [_load(cut) if features is None else features[cut.id] for cut in cuts]
    repeats = [(cut.custom or {}).get("padded_frames") for cut in cuts]
    longest = max(max(len(matrix) for matrix in matrices), max(repeat or 0 for repeat in repeats))
    batch = torch.zeros(len(cuts), longest, matrices[0].shape[1])
    for row, matrix, repeat in zip(batch, matrices, repeats, strict=True):
        row[: len(matrix)] = matrix
        if repeat is not None:
            row[len(matrix) :] = matrix[-1]
    lengths = torch.tensor(
        [min(cut.num_frames, len(matrix)) for cut, matrix in zip(cuts, matrices, strict=True)]
    )
    return batch, lengths


def batches(
    cuts: Iterable[MonoCut],
    *,
    max_seconds: float | None = None,
    max_utterances: int | None = None,
    seed: int = 0,
    epoch: int = 0,
) -> list[list[MonoCut]]:
    """Every cut once, in mixed batches of similar length, for training.

    Args:
        cuts: what is to be heard in this epoch.
        max_seconds: of padded speech in a batch: its longest cut times their number. A cut that is longer by
            itself is a batch alone.
        max_utterances: in a batch.
        seed: together with `epoch` (0 for the first epoch) decides the order; nothing else does, not
            even the order of `cuts`.
        epoch: which epoch this is, from 0.
    """
    ordered = sorted(cuts, key=lambda cut: (-padded_seconds(cut), cut.id))
    chance = random.Random(f"{seed}/{epoch}")
    # Buckets of neighbouring lengths, shuffled inside: who meets whom differs from epoch to epoch.
    estimate = len(_fill(ordered, max_seconds, max_utterances))
    buckets = max(1, estimate // _BATCHES_PER_BUCKET)
    size = -(-len(ordered) // buckets) or 1
    mixed: list[MonoCut] = []
    for start in range(0, len(ordered), size):
        bucket = ordered[start : start + size]
        chance.shuffle(bucket)
        mixed += bucket
    filled = _fill(mixed, max_seconds, max_utterances)
    chance.shuffle(filled)
    return filled


def _fill(cuts: list[MonoCut], max_seconds: float | None, max_utterances: int | None) -> list[list[MonoCut]]:
    """The cuts in their order, a new batch wherever the next would not fit."""
    filled: list[list[MonoCut]] = []
    longest = 0.0
    for cut in cuts:
        grown = max(longest, padded_seconds(cut))
        full = filled and (
            (max_utterances is not None and len(filled[-1]) >= max_utterances)
            or (max_seconds is not None and grown * (len(filled[-1]) + 1) > max_seconds)
        )
        if full or not filled:
            filled.append([])
            grown = padded_seconds(cut)
        filled[-1].append(cut)
        longest = grown
    return filled
