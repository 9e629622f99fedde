"""Checkpoint averaging by icefall, which is optional."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from saml.compat.optional import load


def mean_state(states: Sequence[Mapping[str, Tensor]], setting: str) -> dict[str, Tensor]:
    """The mean of each tensor over `states`, as icefall averages checkpoints.

    Raises:
        SamlError: icefall cannot be imported; `setting`, which asks for it, is named.
    """
    checkpoint = load("icefall.checkpoint", setting, "saml")
    with tempfile.TemporaryDirectory(prefix="saml-") as folder:
        files = [Path(folder, f"epoch-{number}.pt") for number in range(1, len(states) + 1)]
        for file, state in zip(files, states, strict=True):
            torch.save({"model": {name: tensor.cpu() for name, tensor in state.items()}}, file)
        mean: dict[str, Tensor] = checkpoint.average_checkpoints(files)
    return {name: tensor.to(states[0][name]) for name, tensor in mean.items()}
