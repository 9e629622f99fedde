"""Several speakers' utterances, each with its speaker's SAML: one speaker after another, and all at once."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lhotse import MonoCut

from benchmarks._adapting import spec
from benchmarks._models import build
from saml.adapters import AdaptedRecogniser
from saml.crowd.recogniser import CrowdRecogniser
from saml.decoding.transcription import Search, best_texts

State = dict[str, torch.Tensor]


def ways(
    cuts: Sequence[MonoCut], search: Search, options: argparse.Namespace
) -> dict[str, Callable[[], list[str]]]:
    """What is timed: each takes `cuts`, which belong to the speakers in turn, and returns their texts.

    Raises SystemExit where the two do not hear the same: it would be no comparison.
    """
    speakers = options.speakers
    members = [place % speakers for place in range(len(cuts))]
    alone = AdaptedRecogniser(_base(options), spec(options.experts), seed=options.seed)
    states = [_different(alone.state(), member) for member in range(speakers)]
    alone.to(torch.device(options.device))
    crowd = CrowdRecogniser(_base(options), spec(options.experts), members=speakers, seed=options.seed)
    for member, state in enumerate(states):
        crowd.load_state_of(member, state)
    crowd.to(torch.device(options.device))

    def one_by_one() -> list[str]:
        texts = [""] * len(cuts)
        for member, state in enumerate(states):
            alone.load_state(state)
            places = [place for place, whose in enumerate(members) if whose == member]
            for place, text in zip(places, best_texts(alone, [cuts[p] for p in places], search), strict=True):
                texts[place] = text
        return texts

    def at_once() -> list[str]:
        return best_texts(crowd, cuts, search, members=members)

    if one_by_one() != at_once():
        raise SystemExit("decoding: speakers in the same batches are not heard as one after another")
    return {"ours, one speaker after another": one_by_one, "ours, speakers in the same batches": at_once}


def _base(options: argparse.Namespace) -> Any:
    return build(options.size, seed=options.seed, tail_seconds=options.tail_seconds)


def _different(state: State, member: int) -> State:
    """A state of this member's own; small, so that texts are as long as the base's."""
    generator = torch.Generator().manual_seed(member)
    return {
        name: tensor + 0.02 * torch.randn(tensor.shape, generator=generator) for name, tensor in state.items()
    }
