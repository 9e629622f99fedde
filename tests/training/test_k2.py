"""The CTC loss by k2: by k2 itself where it is installed, and else by a stand-in with its manners."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from lhotse import CutSet
from torch import Tensor
from torch.nn import functional as F

from saml.compat.k2 import ctc_losses
from saml.models.recogniser import Recogniser
from saml.runtime.errors import SamlError
from saml.training.data import Examples
from saml.training.losses import utterance_losses
from tests.training.conftest import write_pool

VOCABULARY = 6
FRAMES = torch.tensor([9, 14, 3, 14, 5])
TEXTS = [[1, 4, 4], [4, 1, 5, 3], [2, 2, 2], [3], [5, 3, 1, 4, 2]]  # the third does not fit in its frames


class StandIn(ModuleType):
    """k2's three functions as documented: blank is 0, the longest come first, one number a graph."""

    def ctc_graph(self, symbols: list[list[int]], modified: bool = False) -> list[list[int]]:
        assert not modified and all(symbol > 0 for text in symbols for symbol in text)
        return symbols

    def DenseFsaVec(self, log_probs: Tensor, supervision_segments: Tensor) -> tuple[Tensor, Tensor]:
        assert log_probs.dtype == torch.float32 and supervision_segments.dtype == torch.int32
        durations = supervision_segments[:, 2]
        assert (durations[:-1] >= durations[1:]).all() and (supervision_segments[:, 1] == 0).all()
        return log_probs, supervision_segments

    def ctc_loss(self, graph: Any, dense: Any, output_beam: float, reduction: str) -> Tensor:
        assert output_beam >= 20 and reduction == "none"
        (scores, segments), losses = dense, []
        for text, (row, _, frames) in zip(graph, segments.tolist(), strict=True):
            lengths = torch.tensor([frames]), torch.tensor([len(text)])
            options = {"reduction": "sum", "zero_infinity": True}
            loss = F.ctc_loss(scores[row, :frames], torch.tensor(text), *lengths, **options)
            # Without any path the loss is infinite, and nothing has a gradient.
            losses.append(loss if loss != 0 else loss + torch.inf)
        return torch.stack(losses)


@pytest.fixture(params=["stand-in", "k2"])
def k2(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "k2":
        pytest.importorskip("k2", exc_type=Exception)
    else:
        monkeypatch.setitem(sys.modules, "k2", StandIn("k2"))


def lattice() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    logits = 3 * torch.randn(len(TEXTS), int(FRAMES.max()), VOCABULARY, generator=generator)
    return logits.requires_grad_()


@pytest.mark.usefixtures("k2")
@pytest.mark.parametrize("blank", [0, 3, 5])
def test_losses_and_gradients_equal_torch(blank: int) -> None:
    """For any blank, in any order of lengths, with a text that does not fit: this one counts nothing."""
    texts = [[(token - blank - 1) % 5 if token == blank else token for token in text] for text in TEXTS]
    lengths = torch.tensor([len(text) for text in texts])
    padded = torch.tensor([text + [0] * (int(lengths.max()) - len(text)) for text in texts])
    ours, theirs = lattice(), lattice()
    found = ctc_losses(ours.log_softmax(-1), padded, FRAMES, lengths, blank=blank)
    expected = F.ctc_loss(
        theirs.log_softmax(-1).transpose(0, 1),
        padded,
        FRAMES,
        lengths,
        blank=blank,
        reduction="none",
        zero_infinity=True,
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert expected[2] == 0 and expected.count_nonzero() == 4
    weights = torch.arange(1.0, 1 + len(TEXTS))
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-4)


@pytest.fixture
def examples(recogniser: Recogniser, tmp_path: Path) -> Examples:
    cuts = CutSet.from_file(write_pool(tmp_path / "pool", ["a"], ["test"] * 3, padded=140))
    return Examples(list(cuts), recogniser)


@pytest.mark.usefixtures("k2")
def test_a_recogniser_has_the_same_loss(recogniser: Recogniser, examples: Examples) -> None:
    batch = examples.batch(examples.cuts)
    torch_s = utterance_losses(recogniser, batch, ctc_weight=0.3)
    k2_s = utterance_losses(recogniser, batch, ctc_weight=0.3, ctc_backend="k2")
    torch.testing.assert_close(k2_s.loss, torch_s.loss, atol=1e-4, rtol=1e-4)


def test_k2_that_is_not_there_is_named(
    recogniser: Recogniser, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "k2", None)
    batch = examples.batch(examples.cuts)
    with pytest.raises(SamlError, match=r"^ctc_backend: k2 wants k2, .*environment\.yaml .* or say torch$"):
        utterance_losses(recogniser, batch, ctc_weight=0.3, ctc_backend="k2")
    utterance_losses(recogniser, batch, ctc_weight=0.0, ctc_backend="k2")  # nothing to compute
