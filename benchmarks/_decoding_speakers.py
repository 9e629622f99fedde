"""Several speakers' utterances, each with its speaker's SAML: one speaker after another, and in one batch."""

import argparse
from collections.abc import Callable, Sequence

import torch
from lhotse import MonoCut

from benchmarks._adapting import spec
from benchmarks._models import build
from saml.adapters import AdaptedRecogniser
from saml.decoding.transcription import Output, Search, best_outputs

State = dict[str, torch.Tensor]


def ways(
    cuts: Sequence[MonoCut], search: Search, options: argparse.Namespace
) -> dict[str, Callable[[], list[str]]]:
    """What is timed: each decodes `cuts`, which belong to the speakers in turn, and returns their texts.

    Raises SystemExit where the two ways give different texts: it would be no comparison.
    """
    speakers = options.speakers
    adapters = [place % speakers for place in range(len(cuts))]
    alone = _adapted(options, adapters=1)
    states = [_different(alone.state(), adapter) for adapter in range(speakers)]
    together = _adapted(options, adapters=speakers)
    for adapter, state in enumerate(states):
        together.load_state(state, adapter)

    def one_by_one() -> list[Output]:
        outputs = [Output("", "")] * len(cuts)
        for adapter, state in enumerate(states):
            alone.load_state(state)
            places = [place for place, own in enumerate(adapters) if own == adapter]
            for place, output in zip(
                places, best_outputs(alone, [cuts[p] for p in places], search), strict=True
            ):
                outputs[place] = output
        return outputs

    def at_once() -> list[Output]:
        return best_outputs(together, cuts, search, adapters=adapters)

    if one_by_one() != at_once():
        raise SystemExit("decoding: speakers in the same batches are decoded otherwise than one by one")
    return {"ours, one speaker after another": one_by_one, "ours, speakers in the same batches": at_once}


def _adapted(options: argparse.Namespace, *, adapters: int) -> AdaptedRecogniser:
    """The base with fresh adapters, on the device."""
    base = build(options.size, seed=options.seed, tail_seconds=options.tail_seconds)
    adapted = AdaptedRecogniser(base, spec(options.experts), seed=options.seed, adapters=adapters)
    adapted.to(torch.device(options.device))
    return adapted


def _different(state: State, adapter: int) -> State:
    """An adapter's own state; close to `state`, so that texts are as long as the base's."""
    generator = torch.Generator().manual_seed(adapter)
    return {
        name: tensor + 0.02 * torch.randn(tensor.shape, generator=generator) for name, tensor in state.items()
    }
