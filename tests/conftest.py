"""Small recognisers and made-up speech for the tests of models, adapters and training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saml.models import Recogniser, as_module, build

TINY = {
    "characters": " 'abcdefghijklmnopqrstuvwxyz",
    "hidden_size": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "heads": 2,
    "encoder_feed_forward": 64,
    "decoder_feed_forward": 64,
    "kernel_size": 5,
    "subsampling_channels": 8,
    "dropout": 0.1,
}
REAL_SPEECH = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def make_recogniser() -> Callable[[], Recogniser]:
    """A function that makes the same tiny Conformer again and again, in evaluation mode."""

    def make() -> Recogniser:
        torch.manual_seed(7)
        recogniser = build({"family": "conformer", "conformer": TINY})
        with torch.no_grad():  # weights large enough for states, routes and losses to differ visibly
            for parameter in as_module(recogniser).parameters():
                if parameter.dim() > 1:
                    parameter.mul_(4.0)
        as_module(recogniser).eval()
        return recogniser

    return make


@pytest.fixture
def recogniser(make_recogniser: Callable[[], Recogniser]) -> Recogniser:
    """A tiny Conformer in evaluation mode."""
    return make_recogniser()


@pytest.fixture
def speech() -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(3, 90, 80)` of three utterances and their lengths."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 90, 80, generator=generator), torch.tensor([90, 71, 48])
