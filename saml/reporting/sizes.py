"""Sizes of arms: bytes of real files, in MB of 10^6 bytes, and numbers of parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from safetensors import SafetensorError, safe_open

from saml.reporting.hypotheses import Arm, Decoded, seeds_of
from saml.runtime import layout
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object
from saml.runtime.layout import place

MB = 1_000_000


@dataclass(frozen=True)
class Size:
    """Sizes of an arm in MB: the model shared by all speakers, one speaker's adapter, and the fp32 model.

    An adapter counts as a whole: routers, experts and feed-forward LoRA are all adapted, so none of them can
    be shared.
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
    full = model_bytes(results, "fp32")
    adapters = [
        adapter_bytes(Decoded(name, speaker, seed).folder(results))
        for speaker in speakers
        for seed in seeds_of(arm, seeds)
        if arm["adapted"]
    ]
    mean = fmean(adapters) if adapters else 0.0
    return Size(model_bytes(results, arm["precision"]) / MB, mean / MB, full / MB)


def model_bytes(results: Path, precision: str) -> int:
    """Bytes of the model of a precision, weights and tokeniser; the full-precision one is the base model."""
    folder = place(results, layout.MODEL, model=layout.model_name(precision))
    return _bytes(folder / "model.safetensors") + _bytes(folder / "tokenizer.json")


def adapter_bytes(folder: Path) -> float:
    """Bytes of one speaker's adapter; of one fold where a file has all folds of a cross-validation."""
    folds = adapter_description(folder).get("folds", 1)
    return _bytes(folder / "adapter.safetensors") / (len(folds) if isinstance(folds, list) else int(folds))


@dataclass(frozen=True)
class Shape:
    """One adapter: experts per attention linear, their rank, parameters of LoRAs and of routers."""

    experts: int
    rank: int
    lora: int
    router: int


def adapter_shape(folder: Path) -> Shape:
    """The shape of the adapter in `folder`, or of one of its folds, which have equal shapes.

    Raises:
        SamlError: it is missing or damaged.
    """
    content = adapter_description(folder)
    path = folder / "adapter.safetensors"
    numbers = {True: 0, False: 0}
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                numbers["routers." in name] += math.prod(file.get_slice(name).get_shape())
        experts, rank = content["spec"]["experts"], content["spec"]["rank"]
    except (OSError, SafetensorError, KeyError) as error:
        raise SamlError(f"{path}: cannot read this adapter ({error}); adapt again") from None
    folds = int(content.get("folds", 1))
    return Shape(experts, rank, numbers[False] // folds, numbers[True] // folds)


def adapter_description(folder: Path) -> dict[str, Any]:
    """The JSON beside the adapter in `folder`. Raises SamlError if it is missing or damaged."""
    return read_json_object(folder / "adapter.json", "adapt again")


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SamlError(f"{path}: cannot read its size ({error.strerror}); write it first") from None
