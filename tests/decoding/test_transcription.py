"""Transcription in batches; greedy search against a loop over teacher-forced logits."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lhotse import CutSet

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.decoding.transcription import Search, transcribe
from saml.features.batching import collate
from saml.models.recogniser import Recogniser
from saml.models.tokenisers.characters import END, START, CharacterTokeniser
from tests.training.conftest import write_pool

SPEC = AdapterSpec(experts=3, feed_forward_experts=1, rank=1, alpha=4.0, dropout=0.2, routed=True)


@pytest.fixture
def cuts(family: str, tmp_path: Path) -> list:
    padded = 140 if family == "whisper" else None
    path = write_pool(tmp_path / "pool", ["a", "b"], ["test"] * 3, padded)
    return list(CutSet.from_file(path))


@pytest.fixture
def adapted(make_recogniser: Callable[[], Recogniser]) -> AdaptedRecogniser:
    """Routes and experts that change the texts."""
    model = AdaptedRecogniser(make_recogniser(), SPEC, seed=1)
    torch.manual_seed(4)
    for name, parameter in model.expert_parameters().items():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter, std=0.5)
    for parameter in model.router_parameters().values():
        if parameter.dim() > 2:
            torch.nn.init.normal_(parameter)
    return model


# Tokens per second that limit a text to 11 tokens, whatever the duration.
SHORT = 0.01


def search(beams: int, tokens_per_second: float = 10.0) -> Search:
    return Search(
        beams=beams, batch_seconds=100.0, max_tokens_per_second=tokens_per_second, ctc_weight=0.0, guard=False
    )


@pytest.mark.parametrize("beams", [1, 4])
def test_the_batch_does_not_change_a_hypothesis(adapted: AdaptedRecogniser, cuts: list, beams: int) -> None:
    together = transcribe(adapted, cuts, search(beams))
    for cut in cuts:
        assert transcribe(adapted, [cut], search(beams))[cut.id] == together[cut.id]
    assert len(set(together.values())) > 1


@pytest.mark.parametrize("prompt", [(START,), (START, 9, 4)])
def test_greedy_equals_a_loop_over_teacher_forced_logits(
    adapted: AdaptedRecogniser, cuts: list, prompt: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Routes stay those of the encoder output at every step, with and without transformers' cache, and a
    tokeniser's prompt stands before the text.
    """
    monkeypatch.setattr(CharacterTokeniser, "prompt", prompt)
    cut = cuts[0]
    features, lengths = collate([cut])
    limit = 11
    with torch.inference_mode():
        encoded = adapted.encode(features, lengths)
        tokens = list(prompt)
        while len(tokens) < len(prompt) + limit and tokens[-1] != END:
            tokens.append(int(adapted.logits(encoded, torch.tensor([tokens]))[0, -1].argmax()))
    expected = adapted.tokeniser.decode(tokens)
    assert len(expected) >= 3
    assert transcribe(adapted, [cut], search(1, SHORT))[cut.id] == expected


def test_beam_search_finds_more_likely_hypotheses_than_greedy_search(
    adapted: AdaptedRecogniser, cuts: list
) -> None:
    """Rescored in a teacher-forced pass: four beams are never worse, and better at least once."""

    def likelihood(cut: object, text: str) -> float:
        features, lengths = collate([cut])
        ids = adapted.tokeniser.encode(text)
        with torch.inference_mode():
            encoded = adapted.encode(features, lengths)
            scores = adapted.logits(encoded, torch.tensor([[START, *ids[:-1]]])).log_softmax(dim=-1)
        return float(scores[0, torch.arange(len(ids)), ids].sum())

    greedy, beams = (transcribe(adapted, cuts, search(beams, SHORT)) for beams in (1, 4))
    # Texts of maximum length, so that nothing was stripped and lengths are equal.
    whole = [cut for cut in cuts if len(greedy[cut.id]) == len(beams[cut.id]) == 11]
    gains = [likelihood(cut, beams[cut.id]) - likelihood(cut, greedy[cut.id]) for cut in whole]
    assert len(gains) >= 3 and min(gains) > -1e-4 and max(gains) > 0.01
