"""The decoder, a token at a time, for several beams of every utterance in a batch."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saml.adapters.adapted import AdaptedRecogniser
from saml.compat.transformers import ensure
from saml.models.recogniser import Encoded, Recogniser

ensure()
from transformers.cache_utils import DynamicCache, EncoderDecoderCache  # noqa: E402


class Decoder:
    """What a search needs of a recogniser, for the utterances that were encoded last.

    The beams of an utterance attend to the same encoder states. So its keys and values are computed once and
    never repeated, reordered or copied for beams: cross-attention is given the beams as if they were tokens
    of one row, `(utterances, beams, width)`. All other layers are given `(utterances x beams, 1, width)`, as
    by transformers' `generate`.

    Where a decoder's routes depend on what it is given, so do its keys and values, and each beam has its own.

    Args:
        recogniser: whose decoder.
        encoded: what its encoder made of the batch.
        beams: how many of each utterance go on at a time.
    """

    def __init__(self, recogniser: Recogniser, encoded: Encoded, beams: int) -> None:
        self._recogniser, self._beams = recogniser, beams
        by_input = isinstance(recogniser, AdaptedRecogniser) and recogniser.routed_by_input
        self._shared = beams if not by_input else 1
        self._apart = beams // self._shared
        self._take(encoded.of(_repeated(len(encoded.states), self._apart, encoded)))
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    @property
    def device(self) -> torch.device:
        """Where tokens are wanted."""
        return self._encoded.states.device

    def start(self, prompt: Tensor) -> Tensor:
        """Logits `(utterances, beams, vocabulary)` of the first token after `prompt` `(tokens,)`."""
        rows = len(self._encoded.states)
        logits = self._run(prompt.expand(rows, -1))[:, -1]
        # Beams of an utterance begin alike.
        again = _repeated(rows, self._shared, self._encoded)
        if self._shared > 1:
            self._cache.self_attention_cache.batch_select_indices(again)
        return logits[again].unflatten(0, (-1, self._beams))

    def step(self, tokens: Tensor) -> Tensor:
        """Logits `(utterances, beams, vocabulary)` of what follows `tokens` `(utterances, beams)`."""
        with _beams_as_time(self._recogniser, self._shared):
            return self._run(tokens.flatten()[:, None])[:, -1].unflatten(0, tokens.shape)

    def follow(self, parents: Tensor) -> None:
        """Each beam goes on with the history of the beam `parents` `(utterances, beams)` of its utterance."""
        if self._beams > 1:
            first = torch.arange(0, parents.numel(), self._beams, device=parents.device)
            self._cache.self_attention_cache.batch_select_indices((first[:, None] + parents).flatten())

    def keep(self, rows: Tensor) -> None:
        """Go on with the utterances at `rows` `(kept,)` only."""
        self._take(self._encoded.of(_beams_of(rows, self._apart)))
        self._cache.self_attention_cache.batch_select_indices(_beams_of(rows, self._beams))
        self._cache.cross_attention_cache.batch_select_indices(_beams_of(rows, self._apart))

    def _take(self, encoded: Encoded) -> None:
        self._encoded = encoded
        self._inputs = self._recogniser.generation_inputs(encoded)

    def _run(self, tokens: Tensor) -> Tensor:
        """Logits `(rows, tokens, vocabulary)` of `tokens` `(rows, tokens)` that nobody has seen yet."""
        output = self._recogniser.network(
            **self._inputs, decoder_input_ids=tokens, past_key_values=self._cache, use_cache=True
        )
        logits: Tensor = output.logits.float()
        return logits


def _repeated(rows: int, times: int, encoded: Encoded) -> Tensor:
    return torch.arange(rows, device=encoded.states.device).repeat_interleave(times)


def _beams_of(utterances: Tensor, beams: int) -> Tensor:
    """The rows of all beams of the utterances at `utterances` `(chosen,)`, `(chosen x beams,)`."""
    return (utterances[:, None] * beams + torch.arange(beams, device=utterances.device)).flatten()


@contextmanager
def _beams_as_time(recogniser: Recogniser, beams: int) -> Iterator[None]:
    """Meanwhile cross-attention is given `beams` rows of one token as one row of `beams` tokens."""

    def fold(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (_folded(args[0], beams), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _folded(kwargs["hidden_states"], beams)}

    def unfold(module: nn.Module, args: tuple[Any, ...], output: tuple[Any, ...]) -> Any:
        return output[0].flatten(0, 1)[:, None], *output[1:]

    handles = []
    if beams > 1:
        for module in _cross_attention(recogniser):
            # First, so that whatever else looks there sees as many rows as there are utterances.
            handles.append(module.register_forward_pre_hook(fold, with_kwargs=True, prepend=True))
            handles.append(module.register_forward_hook(unfold))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _folded(states: Tensor, beams: int) -> Tensor:
    return states.unflatten(0, (-1, beams)).flatten(1, 2)


def _cross_attention(recogniser: Recogniser) -> list[nn.Module]:
    """The modules whose projections the recogniser calls its sites of cross-attention."""
    modules = dict(recogniser.network.named_modules(prefix="network"))
    names = (name.rpartition(".")[0] for name in modules if re.fullmatch(recogniser.sites["cross"], name))
    return [modules[name] for name in dict.fromkeys(names)]
