"""Beam search against transformers' `generate`: tokens and scores of all beams."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.decoding.beam_search import BeamSearch, Hypothesis, Rules, find
from saml.decoding.ctc_prefix import JointScores, PrefixScorer
from saml.models.build import build
from saml.models.recogniser import Encoded, Recogniser, as_module
from saml.models.tokenisers.characters import END, PAD, START
from tests.conftest import SECTIONS

from transformers.generation.configuration_utils import GenerationConfig  # isort: skip
from transformers.generation.logits_process import LogitsProcessorList  # isort: skip
from transformers.generation.utils import GenerationMixin  # isort: skip

LENGTHS = [120, 31, 97, 64, 64, 12, 110, 45, 83]


@pytest.fixture
def seed() -> int:
    return 1


@pytest.fixture
def random_recogniser(family: str, seed: int) -> Recogniser:
    """A recogniser some of whose texts end early, some late and some never."""
    torch.manual_seed(seed)
    section = {**SECTIONS[family], "characters": "abcdefgh"}
    if family == "whisper" and seed != 2:
        section["features"] = {"bins": 80, "pad_seconds": 1.4, "tail_seconds": 0.1}
    model = build({"family": family, family: section})
    with torch.no_grad():
        for name, parameter in as_module(model).named_parameters():
            if parameter.dim() > 1 and name not in model.computed:
                parameter.mul_(3.0)
            if re.search(r"decoder.*encoder_attn.*(o|out)_proj.weight", name):
                parameter.mul_(3.0)
    # Random networks repeat one token; this makes every step different.
    model.network.proj_out.register_forward_hook(lambda module, args, output: 2 * (12 * output).sin())
    as_module(model).eval()
    return model


def encode(recogniser: Any) -> Encoded:
    generator = torch.Generator().manual_seed(5)
    voices = torch.randn(len(LENGTHS), 1, 80, generator=generator)
    features = 2 * voices + torch.randn(len(LENGTHS), max(LENGTHS), 80, generator=generator)
    for utterance, length in zip(features, LENGTHS, strict=True):
        utterance[length:] = utterance[:length].min()
    encoded: Encoded = recogniser.encode(features, torch.tensor(LENGTHS))
    return encoded


def rules(beams: int, room: int = 24, **others: Any) -> Rules:
    return Rules(beams=beams, room=[room] * len(LENGTHS), end=END, **{"prompt": (START,), **others})


def joint(recogniser: Any, encoded: Encoded, how: Rules, weight: float) -> JointScores:
    scorer = PrefixScorer(recogniser.ctc_logits(encoded), encoded.mask.sum(dim=1), PAD)
    return JointScores(scorer, prompt=len(how.prompt), end=END, weight=weight)


def theirs(recogniser: Any, encoded: Encoded, how: Rules, scorer: Any = None) -> list[list[Hypothesis]]:
    """All beams of transformers' `generate`."""
    output: Any = GenerationMixin.generate(
        recogniser.network,
        **recogniser.generation_inputs(encoded),
        decoder_input_ids=torch.tensor([how.prompt] * len(encoded.states)),
        logits_processor=None if scorer is None else LogitsProcessorList([scorer]),
        generation_config=GenerationConfig(
            num_beams=how.beams,
            num_return_sequences=how.beams,
            do_sample=False,
            max_new_tokens=max(how.room),
            decoder_start_token_id=START,
            bos_token_id=START,
            eos_token_id=END,
            pad_token_id=PAD,
            suppress_tokens=list(how.never) or None,
            begin_suppress_tokens=list(how.never_first) or None,
            return_dict_in_generate=True,
            output_scores=True,
        ),
    )
    texts = [ids[len(how.prompt) :] for ids in output.sequences.tolist()]
    texts = [ids[: ids.index(END) + 1] if END in ids else ids for ids in texts]
    scores = [0.0] * len(texts) if how.beams == 1 else output.sequences_scores.tolist()
    every = [Hypothesis(ids, score) for ids, score in zip(texts, scores, strict=True)]
    return [every[at : at + how.beams] for at in range(0, len(every), how.beams)]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert [[each.tokens for each in beams] for beams in found] == [
        [each.tokens for each in beams] for beams in expected
    ]
    for own, other in zip(found, expected, strict=True):
        assert [each.score for each in own] == pytest.approx([each.score for each in other], abs=1e-5)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("beams", [1, 4, 5, 20])
def test_every_beam_is_that_of_transformers(random_recogniser: Recogniser, beams: int) -> None:
    encoded = encode(random_recogniser)
    expected = theirs(random_recogniser, encoded, rules(beams))
    assert_same(find(random_recogniser, encoded, rules(beams)), expected)
    texts = {tuple(hypothesis.tokens) for utterance in expected for hypothesis in utterance}
    assert len(texts) > 3 and len(set(map(len, texts))) > 2


@pytest.mark.parametrize("beams", [1, 4])
def test_prompt_and_suppressed_tokens(random_recogniser: Recogniser, beams: int) -> None:
    how = rules(beams, prompt=(START, 5, 7), never=(4, 6), never_first=(END, 8))
    encoded = encode(random_recogniser)
    found = find(random_recogniser, encoded, how)
    assert_same(found, theirs(random_recogniser, encoded, how))
    texts = [beam.tokens for beams in found for beam in beams]
    assert not any({4, 6} & set(text) or text[0] in (END, 8) for text in texts)


@pytest.mark.parametrize("room", [1, 2])
@pytest.mark.parametrize("beams", [1, 3])
def test_very_short_limits(random_recogniser: Recogniser, room: int, beams: int) -> None:
    encoded = encode(random_recogniser)
    how = rules(beams, room)
    assert_same(find(random_recogniser, encoded, how), theirs(random_recogniser, encoded, how))


@pytest.mark.parametrize("beams", [1, 4])
def test_each_utterance_has_its_own_limit(random_recogniser: Recogniser, beams: int) -> None:
    """In a batch with other limits, a text is the same as alone."""
    encoded = encode(random_recogniser)
    rooms = [3 + 5 * (place % 4) for place in range(len(LENGTHS))]
    how = replace(rules(beams), room=rooms)
    found = find(random_recogniser, encoded, how)
    for place, room in enumerate(rooms):
        alone = theirs(random_recogniser, encoded.of(torch.tensor([place])), rules(beams, room))
        assert_same([found[place]], alone)
    assert {max(len(beam.tokens) for beam in beams) for beams in found} >= {3, 8}


def test_a_finished_utterance_gets_no_more_texts() -> None:
    """It can remain in the batch for some steps; here a third text would have a better mean."""
    state = BeamSearch(torch.zeros(1, 2, 5), replace(rules(2), room=[9]))
    unlikely = -50.0
    # Scores of tokens 0 to 4 after each of two beams; 2 is the end.
    for first in (
        [unlikely, unlikely, -0.1, -5.0, -20.0],  # the end: a mean of -0.1; continued with 3: -5.0
        [unlikely, unlikely, -0.2, -0.3, -20.0],  # the end: -5.2 / 2; continued: -5.3 / 2, below both
        [unlikely, unlikely, 0.0, -20.0, -20.0],  # the end: -5.3 / 3, above the second
    ):
        state.advance(torch.tensor([[first, [unlikely] * 5]]))
    assert bool(state.finished)
    assert [beam.tokens for beam in state.hypotheses(0)] == [[END], [3, END]]
    assert [beam.score for beam in state.hypotheses(0)] == pytest.approx([-0.1, -2.6])


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("weight", [0.3, 0.7])
def test_joint_with_ctc(random_recogniser: Recogniser, beams: int, weight: float) -> None:
    encoded, how = encode(random_recogniser), rules(beams)
    expected = theirs(random_recogniser, encoded, how, joint(random_recogniser, encoded, how, weight))
    found = find(random_recogniser, encoded, how, joint(random_recogniser, encoded, how, weight))
    assert_same(found, expected)


SPEC: dict[str, Any] = {"experts": 3, "feed_forward_experts": 3, "rank": 1, "alpha": 4.0, "dropout": 0.2}


def adapted(recogniser: Recogniser, **others: Any) -> AdaptedRecogniser:
    """Routes and experts that change the hypotheses."""
    model = AdaptedRecogniser(recogniser, AdapterSpec(**{**SPEC, **others}), seed=1)
    torch.manual_seed(4)
    for name, parameter in model.expert_parameters().items():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter, std=0.3)
    for parameter in model.router_parameters().values():
        if parameter.dim() > 2:
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("routing", ["encoder", "input"])
def test_routes_stay_with_their_utterances(random_recogniser: Recogniser, routing: str, beams: int) -> None:
    spec = {"routed": True, "feed_forward_experts": 1, "decoder_routing": routing}
    model = adapted(random_recogniser, **spec)
    encoded = encode(model)
    expected = theirs(model, encoded, rules(beams))
    assert_same(find(model, encoded, rules(beams)), expected)
    again = encode(model)  # after a search the routes are as before
    assert torch.equal(again.states, encoded.states)
    assert_same(find(model, again, rules(beams)), expected)


def test_fixed_routes_stay_with_their_utterances(random_recogniser: Recogniser) -> None:
    """Including feed-forward layers; they are the same for the next batch."""
    model = adapted(random_recogniser)
    model.fix_routes(torch.eye(3).repeat(3, 1))
    for _ in range(2):
        encoded = encode(model)
        found = find(model, encoded, rules(4))
        assert_same(found, theirs(model, encoded, rules(4)))


def test_finished_utterances_leave(random_recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are computed for fewer and fewer rows, and encoder states are never repeated for beams."""
    seen = []
    layer = random_recogniser.network.model.decoder.layers[0]
    for module in (layer.self_attn, layer.encoder_attn):
        module.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(tuple(kwargs.get("hidden_states", *args[:1]).shape[:2])),
            with_kwargs=True,
        )
    encoded = encode(random_recogniser)
    tokens = torch.tensor([[START, 3, 4]]).repeat(len(LENGTHS), 1)
    before = random_recogniser.logits(encoded, tokens)
    seen.clear()
    find(random_recogniser, encoded, rules(4, room=60))
    own, cross = seen[0::2], seen[1::2]
    assert own[0] == cross[0] == (len(LENGTHS), 1)
    assert all(
        each == (4 * rows, 1) and beams == 4 for each, (rows, beams) in zip(own[1:], cross[1:], strict=True)
    )
    assert own[-1][0] < own[1][0]
    # After the search the decoder computes as before.
    assert torch.equal(random_recogniser.logits(encoded, tokens), before)


def test_each_utterance_is_decoded_with_its_own_adapter(random_recogniser: Recogniser) -> None:
    spec = AdapterSpec(**{**SPEC, "feed_forward_experts": 1}, routed=True)
    model = AdaptedRecogniser(random_recogniser, spec, adapters=2, seed=1)
    torch.manual_seed(4)
    for name, parameter in model.expert_parameters().items():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter, std=0.3)
    model.assign([0, 1, 1, 0, 1, 0, 0, 1, 0])
    encoded = encode(model)
    assert_same(find(model, encoded, rules(4)), theirs(model, encoded, rules(4)))
