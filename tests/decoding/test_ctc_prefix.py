"""CTC prefix scores against all alignments of a tiny lattice, and the joint search against all texts."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lhotse import CutSet
from torch.nn import functional as F

from saml.decoding.ctc_prefix import JointScores, PrefixScorer
from saml.decoding.transcription import Search, transcribe
from saml.features.batching import collate
from saml.models.build import build
from saml.models.recogniser import Encoded, Recogniser, as_module
from saml.models.tokenisers.characters import END, PAD, START
from tests.conftest import SECTIONS
from tests.training.conftest import write_pool

FRAMES, VOCABULARY = 5, 4


def lattice(utterances: int = 2, frames: int = FRAMES, vocabulary: int = VOCABULARY) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames + vocabulary)
    return 2 * torch.randn(utterances, frames, vocabulary, generator=generator)


def probabilities(logits: torch.Tensor, blank: int) -> dict[tuple[int, ...], float]:
    """Text to its probability in an utterance `(frames, vocabulary)`: the sum over its alignments."""
    found: dict[tuple[int, ...], float] = {}
    scores = logits.double().log_softmax(dim=-1).tolist()
    for path in itertools.product(range(logits.shape[1]), repeat=logits.shape[0]):
        text = tuple(token for token, _ in itertools.groupby(path) if token != blank)
        chance = math.exp(sum(frame[token] for frame, token in zip(scores, path, strict=True)))
        found[text] = found.get(text, 0.0) + chance
    return found


def beginning_with(prefix: tuple[int, ...], texts: dict[tuple[int, ...], float]) -> float:
    return sum(chance for text, chance in texts.items() if text[: len(prefix)] == prefix)


@pytest.mark.parametrize("blank", [0, 2])
def test_prefix_scores_equal_the_sum_over_all_alignments(blank: int) -> None:
    """Two utterances of different lengths, several prefixes of each at a time, one of them chosen twice."""
    logits, lengths = lattice(), [FRAMES, 3]
    texts = [probabilities(each[:length], blank) for each, length in zip(logits, lengths, strict=True)]
    scorer = PrefixScorer(logits, torch.tensor(lengths), blank)
    letters = [token for token in range(VOCABULARY) if token != blank]
    prefixes, spelt = scorer.start(beams=1), [[()], [()]]
    for chosen in ([0, 0, 0, 0], [3, 0, 1, 1], [0, 2, 3, 3], [1, 1, 0, 2], [0, 1, 2, 3]):
        following, complete = scorer.following(prefixes), scorer.complete(prefixes)
        for row in range(2):
            for beam, prefix in enumerate(spelt[row]):
                assert complete[row, beam].exp() == pytest.approx(texts[row].get(prefix, 0.0), abs=1e-9)
                assert prefixes.score[row, beam].exp() == pytest.approx(
                    beginning_with(prefix, texts[row]), abs=1e-9
                )
                for token in letters:
                    expected = beginning_with((*prefix, token), texts[row])
                    assert following[row, beam, token].exp() == pytest.approx(expected, abs=1e-9)
                assert following[row, beam, blank] == -math.inf
        tokens = [letters[0], letters[1], letters[2], letters[0]]
        prefixes = scorer.extend(prefixes.of(torch.tensor([chosen, chosen])), torch.tensor([tokens] * 2))
        spelt = [[(*row[at], token) for at, token in zip(chosen, tokens, strict=True)] for row in spelt]


def test_long_speech_neither_underflows_nor_depends_on_the_batch() -> None:
    """A text of 200 tokens in 1,500 sharp frames: its score is torch's CTC loss, in any batch."""
    logits = 8 * lattice(2, 1500, 30)
    lengths = torch.tensor([400, 1500])
    text = torch.randint(1, 30, (200,), generator=torch.Generator().manual_seed(5))
    alone = PrefixScorer(logits[:1, :400], lengths[:1], blank=0)
    together = PrefixScorer(logits, lengths, blank=0)
    one, two = alone.start(1), together.start(3)
    for token in text:
        assert torch.isclose(alone.following(one)[0, 0, token], alone.extend(one, token[None, None]).score)
        one, two = alone.extend(one, token[None, None]), together.extend(two, token.expand(2, 3))
    torch.testing.assert_close(two.score[:1, :1], one.score)
    torch.testing.assert_close(together.following(two)[:1, :1], alone.following(one))
    for row in range(2):
        frames = logits[row, : lengths[row]].double().log_softmax(dim=-1)
        loss = F.ctc_loss(frames, text, lengths[row, None], torch.tensor([200]), reduction="sum")
        torch.testing.assert_close(together.complete(two)[row], -loss.expand(3))


def test_a_prefix_longer_than_the_speech_is_impossible() -> None:
    scorer = PrefixScorer(lattice(1, frames=2), torch.tensor([2]), blank=0)
    joint = JointScores(scorer, prompt=1, end=3, weight=0.5)
    scores = torch.full((1, VOCABULARY), math.log(1 / VOCABULARY))
    for text in ([], [1], [1, 2]):
        found = joint(torch.tensor([[9, *text]]), scores)
        assert not found.isnan().any() and found[0, 3].isfinite()
    for text in ([1, 2, 1], [1, 2, 1, 2]):
        assert (joint(torch.tensor([[9, *text]]), scores) == -math.inf).all()


def test_beams_may_be_reordered_dropped_and_doubled() -> None:
    """The scores of the tokens sum to the joint score of the text, for any order of beams."""
    blank, end, weight = 0, 3, 0.4
    logits = lattice(1)
    texts = probabilities(logits[0], blank)
    joint = JointScores(PrefixScorer(logits, torch.tensor([FRAMES]), blank), prompt=2, end=end, weight=weight)
    decoder = torch.log_softmax(
        torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(9)), dim=-1
    )
    decoder[:, 0] = -math.inf  # suppressed by another processor
    steps = [[[], [], []], [[1], [2], [2]], [[2, 1], [1, 2], [2, 2]], [[2, 2, 1], [2, 1, 2], [2, 1, 1]]]
    sums = {(): 0.0}
    for beams in steps:
        found = joint(torch.tensor([[7, 8, *beam] for beam in beams]), decoder)
        for row, beam in enumerate(map(tuple, beams)):
            for token in (1, 2, end):
                own = float(found[row, token] - (1 - weight) * decoder[row, token])
                chance = texts.get(beam, 0.0) if token == end else beginning_with((*beam, token), texts)
                sums[*beam, token] = sums[beam] + own
                expected = weight * math.log(chance) if chance else -math.inf
                assert sums[*beam, token] == pytest.approx(expected, abs=1e-5)
            assert found[row, 0] == -math.inf


# ---- the search -------------------------------------------------------------------------------

LETTERS = "abc"
OTHERS = [START, 3, 4, 5]  # tokens of a text
ROOM = 4


@pytest.fixture
def tiny(family: str) -> Recogniser:
    """A recogniser of three letters whose decoder and CTC head disagree."""
    torch.manual_seed(11)
    model = build({"family": family, family: {**SECTIONS[family], "characters": LETTERS}})
    with torch.no_grad():
        for name, parameter in as_module(model).named_parameters():
            if parameter.dim() > 1 and name not in model.computed:
                parameter.mul_(4.0)
    as_module(model).eval()
    return model


@pytest.fixture
def cuts(family: str, tmp_path: Path) -> list:
    path = write_pool(tmp_path / "pool", ["a", "b"], ["test"] * 2, 140 if family == "whisper" else None)
    return list(CutSet.from_file(path))


def hypotheses() -> Iterator[tuple[int, ...]]:
    """All results of a search: a text with the end, or a text of maximum length."""
    for length in range(ROOM):
        yield from ((*text, END) for text in itertools.product(OTHERS, repeat=length))
    yield from itertools.product(OTHERS, repeat=ROOM)


def repeated(encoded: Encoded, times: int) -> Encoded:
    tensors = (encoded.states, encoded.mask, encoded.attended)
    return Encoded(
        *(None if tensor is None else tensor.repeat_interleave(times, dim=0) for tensor in tensors)
    )


def best_of_all(recogniser: Recogniser, cut: object, weight: float) -> str:
    """The hypothesis with the highest mean joint score per token, among all."""
    features, lengths = collate([cut])
    decoder = {}
    with torch.inference_mode():
        encoded = recogniser.encode(features, lengths)
        logits = recogniser.ctc_logits(encoded)[0, : int(encoded.mask.sum())].double().log_softmax(dim=-1)
        for length in range(ROOM):
            texts = list(itertools.product(OTHERS, repeat=length))
            inputs = torch.tensor([[START, *text] for text in texts])
            scores = recogniser.logits(repeated(encoded, len(texts)), inputs)[:, -1].double()
            decoder |= dict(zip(texts, scores.log_softmax(dim=-1).tolist(), strict=True))
    best = (-math.inf, "")
    for tokens in hypotheses():
        attention = sum(decoder[tokens[:at]][token] for at, token in enumerate(tokens))
        ctc = -ctc_loss(logits, tokens[:-1]) if tokens[-1] == END else cut_short(logits, tokens)
        score = ((1 - weight) * attention + weight * ctc) / len(tokens)
        best = max(best, (score, recogniser.tokeniser.decode(tokens)))
    return best[1]


def ctc_loss(logits: torch.Tensor, text: tuple[int, ...]) -> float:
    lengths = torch.tensor([len(logits)]), torch.tensor([len(text)])
    return float(F.ctc_loss(logits, torch.tensor(text, dtype=torch.long), *lengths, reduction="sum"))


def cut_short(logits: torch.Tensor, tokens: tuple[int, ...]) -> float:
    """The prefix score of an unfinished text, by the paper's recursion, frame by frame."""
    frames = logits.exp().tolist()
    token, blank = [0.0] * (len(frames) + 1), [1.0]
    for frame in frames:
        blank.append(blank[-1] * frame[PAD])
    prefix = 1.0
    for last, new in zip([None, *tokens], tokens, strict=False):
        before = [b if new == last else t + b for t, b in zip(token, blank, strict=True)]
        prefix = sum(entry * frame[new] for entry, frame in zip(before, frames, strict=False))
        token, old = [0.0], token
        blank = [0.0]
        for entry, frame in zip(before, frames, strict=False):
            token.append((token[-1] + entry) * frame[new])
            blank.append((blank[-1] + token[-2]) * frame[PAD])
        assert len(token) == len(old)
    return math.log(prefix)


@pytest.mark.parametrize("weight", [0.3, 0.7, 1.0])
def test_a_wide_search_finds_the_best_of_all_texts(
    tiny: Recogniser, cuts: list, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tiny), "max_tokens", 1 + ROOM)
    found = transcribe(tiny, cuts, search(weight, beams=120))
    assert found == {cut.id: best_of_all(tiny, cut, weight) for cut in cuts}
    assert found != transcribe(tiny, cuts, search(0.0, beams=120))


@pytest.mark.parametrize("beams", [1, 3])
def test_the_batch_does_not_change_a_hypothesis(tiny: Recogniser, cuts: list, beams: int) -> None:
    together = transcribe(tiny, cuts, search(0.5, beams))
    for cut in cuts:
        assert transcribe(tiny, [cut], search(0.5, beams))[cut.id] == together[cut.id]
    assert len(set(together.values())) > 1


@pytest.mark.parametrize("weight", [0.4, 1.0])
def test_greedy_search_is_joint_too(tiny: Recogniser, cuts: list, weight: float) -> None:
    """Each token is the best by the weighted sum of both scores, computed by other means."""
    cut = cuts[0]
    features, lengths = collate([cut])
    with torch.inference_mode():
        encoded = tiny.encode(features, lengths)
        logits = tiny.ctc_logits(encoded)[0, : int(encoded.mask.sum())].double().log_softmax(dim=-1)
    tokens: list[int] = []
    while len(tokens) < 11:
        ctc = {token: cut_short(logits, (*tokens, token)) for token in range(1, tiny.tokeniser.size)}
        ctc[END] = -ctc_loss(logits, tuple(tokens))
        with torch.inference_mode():
            inputs = torch.tensor([[START, *tokens]])
            decoder = tiny.logits(encoded, inputs)[0, -1].double().log_softmax(dim=-1).tolist()
        scores = {token: weight * ctc[token] + (1 - weight) * decoder[token] for token in ctc}
        best = max(scores, key=lambda token: scores[token])
        if best == END:
            break
        tokens.append(best)
    assert transcribe(tiny, [cut], search(weight, beams=1))[cut.id] == tiny.tokeniser.decode(tokens)


def search(weight: float, beams: int) -> Search:
    """At most 11 tokens, whatever the duration."""
    return Search(
        beams=beams, batch_seconds=100.0, max_tokens_per_second=0.01, ctc_weight=weight, guard=False
    )


def test_without_weight_the_ctc_head_is_not_used(
    tiny: Recogniser, cuts: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a look at the CTC head."""
    expected = transcribe(
        tiny,
        cuts,
        Search(beams=3, batch_seconds=100.0, max_tokens_per_second=0.01, ctc_weight=0.0, guard=False),
    )
    monkeypatch.delattr(type(tiny), "ctc_logits")
    assert transcribe(tiny, cuts, search(0.0, beams=3)) == expected
