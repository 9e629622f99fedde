"""What is the Conformer's own: its mask and its decoder's positions."""

import pytest
import torch

from saml.models.recogniser import Recogniser


@pytest.fixture
def family() -> str:
    return "conformer"


def test_frames_are_halved_and_rounded_up_twice(recogniser: Recogniser) -> None:
    assert recogniser.frame_mask(torch.tensor([90, 71, 48])).sum(dim=1).tolist() == [23, 18, 12]


def test_positions_are_not_stored(recogniser: Recogniser) -> None:
    assert recogniser.computed == ("network.model.decoder.pos_emb.weight",)
