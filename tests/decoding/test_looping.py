"""The guard against outputs that loop."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lhotse import MonoCut

from saml.decoding.looping import BlockedRepeats, compression_ratio, loops, repeats_phrase
from saml.decoding.transcription import Search, best_outputs
from saml.features.log_mel import LogMelConfig
from saml.models.build import build
from saml.models.recogniser import Recogniser, as_module
from saml.runtime.progress import Progress
from tests.conftest import TINY_WHISPER
from tests.features.cuts import stored

LOOP = "I am going to the shop. " * 8


def test_the_compression_ratio_is_whispers() -> None:
    data = LOOP.encode()
    assert compression_ratio(LOOP) == len(data) / len(zlib.compress(data)) > 2.4
    assert compression_ratio("") == 0.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one two one two one two", True),
        ("One two, one two. ONE TWO!", True),
        ("and then he said he said he said no", True),
        ("one two one two and one two", False),
        ("three three three", False),
        ("w w w dot", False),
        ("no no no no no", True),
        ("... ... ... ... ... ...", False),
        ("a b c d e f g h i j k l " * 3, True),
        ("", False),
    ],
)
def test_a_phrase_three_times_in_a_row_or_a_word_five_times(text: str, found: bool) -> None:
    assert repeats_phrase(text) is found


def test_what_loops() -> None:
    assert loops(LOOP, 60, 10.0)
    assert not loops("I am going to the shop.", 7, 2.0)
    assert not loops("short", 30, 1.0) and loops("short", 31, 1.0)


@pytest.mark.parametrize(("vocabulary", "size"), [(50_000, 3), (30, 12)])
def test_no_sequence_occurs_twice_while_repetition_is_blocked(vocabulary: int, size: int) -> None:
    """Compared with a search through the text."""
    generator = torch.Generator().manual_seed(size)
    block = BlockedRepeats(vocabulary)
    for _ in range(20):
        text = torch.randint(0, 3, (1, 40), generator=generator)
        found = block(text, torch.zeros(1, vocabulary))[0]
        ids = text[0].tolist()
        last = ids[len(ids) - size + 1 :]
        followers = {
            ids[at + size - 1] for at in range(len(ids) - size + 1) if ids[at : at + size - 1] == last
        }
        assert set(torch.nonzero(found == float("-inf"))[:, 0].tolist()) == followers


def test_another_scorer_comes_first() -> None:
    class Other:
        kept = False

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return scores + 1.0

        def keep(self, rows: torch.Tensor) -> None:
            self.kept = True

    other = Other()
    block = BlockedRepeats(50_000, other)
    assert block(torch.tensor([[1, 2]]), torch.zeros(1, 5)).tolist() == [[1.0] * 5]
    block.keep(torch.tensor([0]))
    assert other.kept


def whisper(tail: float | None) -> Recogniser:
    torch.manual_seed(8)
    features = {**TINY_WHISPER["features"], "tail_seconds": tail}
    recogniser = build({"family": "whisper", "whisper": {**TINY_WHISPER, "features": features}})
    as_module(recogniser).eval()
    return recogniser


def search(*, guard: bool) -> Search:
    return Search(beams=2, batch_seconds=20, max_tokens_per_second=30.0, ctc_weight=0.0, guard=guard)


@pytest.fixture
def cuts(tmp_path: Path) -> Callable[[float | None], list[MonoCut]]:
    def made(tail: float | None) -> list[MonoCut]:
        features: dict[str, Any] = {**TINY_WHISPER["features"], "tail_seconds": tail}
        folder = tmp_path / str(tail)
        folder.mkdir(exist_ok=True)
        return stored(folder, LogMelConfig("whisper", **features), [0.5, 0.9, 0.7, 1.2])

    return made


def test_the_whole_context_is_that_of_a_model_without_a_shorter_one(
    cuts: Callable[[float | None], list[MonoCut]],
) -> None:
    short, whole = whisper(0.1), whisper(None)
    expected = best_outputs(whole, cuts(None), search(guard=False))
    assert best_outputs(short, cuts(0.1), search(guard=False), whole_context=True) == expected
    assert best_outputs(short, cuts(0.1), search(guard=False)) != expected


def test_outputs_that_loop_are_decoded_again_and_others_are_not(
    cuts: Callable[[float | None], list[MonoCut]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights repeat themselves nearly always."""
    model, speech = whisper(0.1), cuts(0.1)
    bare = best_outputs(model, speech, search(guard=False))
    with Progress("decoding", len(speech), every=0.0) as progress:
        guarded = best_outputs(model, speech, search(guard=True), progress)
    whole = best_outputs(model, speech, search(guard=False), whole_context=True)
    assert {output.guard for output in bare} == {""} and any(output.guard for output in guarded)
    for plain, second, output in zip(bare, whole, guarded, strict=True):
        if not output.guard:
            assert output == plain
        elif output.guard == "context":
            assert output.text == second.text
        else:
            pieces = [output.text[at : at + 12] for at in range(len(output.text) - 11)]
            assert len(set(pieces)) == len(pieces)
    # Attempts that followed are in the progress: an output of the third one had two before.
    attempts = sum({"": 1, "context": 2, "blocked": 3}[output.guard] for output in guarded)
    assert progress.done == progress.total == attempts > len(speech)
    assert "again what looped" in capsys.readouterr().err
