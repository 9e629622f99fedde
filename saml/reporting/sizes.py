"""What an arm weighs: bytes of real files, in MB of 10^6 bytes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from saml.errors import SamlError
from saml.reporting.hypotheses import Arm, Decoding, seeds_of

MB = 1_000_000


@dataclass(frozen=True)
class Size:
    """Sizes of an arm in MB: the model that all speakers share, what each speaker adds, and the fp32 model.

    What a speaker adds is the whole adapter: routers, experts and feed-forward LoRA are all adapted, so none
    of them can be shared.
    """

    model: float
    speaker: float
    full_precision: float

    @property
    def ratio(self) -> float:
        """How many times smaller the arm is than the fp32 model."""
        return self.full_precision / (self.model + self.speaker)


def arm_size(results: Path, name: str, arm: Arm, speakers: Sequence[str], seeds: Sequence[int]) -> Size:
    """The size of one arm; a speaker's part is the mean over speakers and seeds.

    Raises:
        SamlError: a file of the arm is missing.
    """
    full = weights_bytes(results, "fp32")
    adapters = [
        adapter_bytes(Decoding(name, speaker, seed).folder(results))
        for speaker in speakers
        for seed in seeds_of(arm, seeds)
        if arm["adapted"]
    ]
    mean = fmean(adapters) if adapters else 0.0
    return Size(weights_bytes(results, arm["precision"]) / MB, mean / MB, full / MB)


def weights_bytes(results: Path, precision: str) -> int:
    """Bytes of the model file of a precision; the full-precision one is the base model's."""
    folder = "base" if precision == "fp32" else precision
    return _bytes(results / "models" / folder / "model.safetensors")


def adapter_bytes(folder: Path) -> float:
    """Bytes of one speaker's adapter; of cross-validation's, a fold each in one file, only one would ship."""
    description = folder / "adapter.json"
    try:
        folds = json.loads(description.read_text(encoding="utf-8")).get("folds", 1)
    except (OSError, ValueError, AttributeError) as error:
        raise SamlError(
            f"{description}: cannot read this adapter's description ({error}); adapt again"
        ) from None
    return _bytes(folder / "adapter.safetensors") / (len(folds) if isinstance(folds, list) else int(folds))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SamlError(f"{path}: cannot take its size ({error.strerror}); make it first") from None
