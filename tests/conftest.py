"""Small recognisers and made-up speech for the tests of models, adapters and training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from saml.models.build import build
from saml.models.recogniser import Recogniser, as_module

# Numbers that tests know must not depend on how many cores a machine has, and tiny networks gain nothing.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: with several workers, none of them is left over to the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


TINY: dict[str, Any] = {
    "characters": " 'abcdefghijklmnopqrstuvwxyz",
    "bpe": None,
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
TINY_WHISPER: dict[str, Any] = {
    "checkpoint": None,
    "characters": " 'abcdefghijklmnopqrstuvwxyz",
    "text_style": "plain",
    "hidden_size": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "heads": 2,
    "encoder_feed_forward": 64,
    "decoder_feed_forward": 64,
    "max_target_positions": 64,
    "dropout": 0.1,
    "ctc_head": True,
    "features": {"bins": 80, "pad_seconds": 1.4, "tail_seconds": None},
}
SECTIONS = {"conformer": TINY, "whisper": TINY_WHISPER}
REAL_SPEECH = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(params=SECTIONS)
def family(request: pytest.FixtureRequest) -> str:
    """Every family in turn; a module about one overrides it."""
    return str(request.param)


@pytest.fixture
def make_recogniser(family: str) -> Callable[[], Recogniser]:
    """A function that makes the same tiny recogniser again and again, in evaluation mode."""

    def make() -> Recogniser:
        torch.manual_seed(7)
        recogniser = build({"family": family, family: SECTIONS[family]})
        with torch.no_grad():  # weights large enough for states, routes and losses to differ visibly
            for name, parameter in as_module(recogniser).named_parameters():
                if parameter.dim() > 1 and name not in recogniser.computed:
                    parameter.mul_(4.0)
        as_module(recogniser).eval()
        return recogniser

    return make


@pytest.fixture
def recogniser(make_recogniser: Callable[[], Recogniser]) -> Recogniser:
    """A tiny recogniser in evaluation mode."""
    return make_recogniser()


@pytest.fixture
def speech(family: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(3, 90, 80)` of three utterances and their lengths.

    After an utterance's end Whisper has silence, the floor of the features; a Conformer may have anything.
    """
    generator = torch.Generator().manual_seed(3)
    features, lengths = torch.randn(3, 90, 80, generator=generator), torch.tensor([90, 71, 48])
    if family == "whisper":
        for utterance, length in zip(features, lengths.tolist(), strict=True):
            utterance[length:] = utterance[:length].min()
    return features, lengths
