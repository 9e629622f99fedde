"""What the training stages share."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lhotse import CutSet, MonoCut

from saml.errors import SamlError
from saml.features import batches
from saml.training.examples import Batch


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def read_cuts(path: Path) -> list[MonoCut]:
    """The cuts of a manifest, in its order. Raises SamlError when the file is missing or damaged."""
    try:
        return list(CutSet.from_file(path))
    except FileNotFoundError:
        raise SamlError(f"{path}: no such file") from None
    except (ValueError, EOFError, OSError) as error:
        raise SamlError(f"{path}: not a manifest of cuts ({error}); make it again") from None


def section_for_arm(settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A section of the config with what the arm's own entry says over it: `arms.<arm>.<section>`.

    So learning rates that were chosen for one arm stand in that arm's entry.
    """
    own: Mapping[str, Any] = settings["arm"].get(section, {})
    return {**settings[section], **own}


def seed_for(*factors: object) -> int:
    """A seed decided by `factors` alone, different for different factors, the same on every machine."""
    text = "/".join(str(factor) for factor in factors)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def file_checksum(path: Path) -> str:
    """The sha256 of a file's bytes, by which a checkpoint knows its inputs."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shuffled(cuts: Sequence[MonoCut], how: Mapping[str, Any], seed: int, index: int) -> list[list[MonoCut]]:
    """The batches of pass `index`, of `batch_utterances` each."""
    return batches(cuts, max_utterances=how["batch_utterances"], seed=seed, pass_index=index)


def in_order(cuts: Sequence[MonoCut], *, max_seconds: float = 60.0) -> list[list[MonoCut]]:
    """Batches for judging: sorted by length, nothing at random."""
    return batches(cuts, max_seconds=max_seconds, shuffle=False)


def unchanged(batch: Batch) -> Batch:
    """A batch as it is."""
    return batch
