"""What a training step sees of a text: a tokeniser's prompt is given, and neither learned nor counted."""

from pathlib import Path

import pytest
import torch
from lhotse import CutSet
from torch.nn import functional as F

from saml.models.recogniser import Recogniser
from saml.models.tokenisers.characters import CharacterTokeniser
from saml.runtime.errors import SamlError
from saml.training.data import Examples
from saml.training.losses import utterance_losses
from tests.training.conftest import write_pool


@pytest.fixture
def cuts(tmp_path: Path) -> list:
    return list(CutSet.from_file(write_pool(tmp_path / "pool", ["a"], ["test"] * 3, padded=140)))


@pytest.mark.parametrize("prompt", [(1,), (1, 9, 4)])
def test_losses_are_those_of_the_text_and_its_end(
    recogniser: Recogniser, cuts: list, prompt: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Utterance by utterance, spelt out: entropy of text and end after the prompt, CTC of the text alone."""
    monkeypatch.setattr(CharacterTokeniser, "prompt", prompt)
    examples = Examples(cuts, recogniser)
    found = utterance_losses(recogniser, examples.batch(cuts), ctc_weight=0.3)
    for row, cut in enumerate(cuts):
        text = recogniser.tokeniser.encode(cut.supervisions[0].text)
        batch = examples.batch([cut])
        assert batch.inputs.tolist() == [[*prompt, *text]]
        encoded = recogniser.encode(batch.features, batch.lengths)
        logits = recogniser.logits(encoded, batch.inputs)[0, len(prompt) - 1 :]
        targets = torch.tensor([*text, 2])
        entropy = F.cross_entropy(logits, targets)
        scores = recogniser.ctc_logits(encoded).log_softmax(dim=-1).transpose(0, 1)
        frames = encoded.mask.sum(dim=1)
        ctc = F.ctc_loss(scores, targets[None, :-1], frames, torch.tensor([len(text)]), reduction="mean")
        torch.testing.assert_close(found.loss[row], 0.7 * entropy + 0.3 * ctc, atol=1e-4, rtol=1e-4)
        assert found.tokens[row] == len(text) + 1
        assert found.correct[row] == (logits.argmax(dim=-1) == targets).sum()


def test_a_text_longer_than_the_positions_is_named(
    recogniser: Recogniser, cuts: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = recogniser.max_tokens
    cuts[1].supervisions[0].text = "a" * (limit - 1)
    Examples(cuts, recogniser)
    monkeypatch.setattr(CharacterTokeniser, "prompt", (1, 9))
    with pytest.raises(
        SamlError,
        match=rf"utterance a-1 \(\S+\): {limit - 1} tokens exceed the model's {limit - 2}; divide the",
    ):
        Examples(cuts, recogniser)


def test_a_pool_that_is_too_large_is_read_batch_by_batch(recogniser: Recogniser, cuts: list) -> None:
    kept = Examples(cuts, recogniser)
    read = Examples(
        cuts, recogniser, in_memory=sum(4 * cut.num_frames * cut.num_features for cut in cuts) - 1
    )
    expected = kept.batch(cuts)
    torch.testing.assert_close(read.batch(cuts).features, expected.features, rtol=0, atol=0)
    Path(cuts[0].features.storage_path).unlink()
    torch.testing.assert_close(kept.batch(cuts).features, expected.features, rtol=0, atol=0)
    with pytest.raises(SamlError, match="no such features"):
        read.batch(cuts)
