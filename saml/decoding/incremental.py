"""Incremental decoding: one token at a time for several beams of every utterance of a batch."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saml.compat.torchaudio import ensure
from saml.models.recogniser import Encoded, Recogniser

ensure()
from transformers.cache_utils import DynamicCache, EncoderDecoderCache  # noqa: E402


class Decoder:
    """The decoder of a recogniser with its key-value cache, for one encoded batch.

    The beams of an utterance attend to the same encoder states. So their keys and values are computed once
    per utterance and never repeated, reordered or copied for beams: the input of cross-attention has the
    beams as tokens of one row, `(utterances, beams, width)`. The input of all other layers is
    `(utterances x beams, 1, width)`, as in transformers' `generate`.

    If the decoder's routes depend on its input, so do its keys and values, and each beam has its own.

    Args:
        recogniser: its decoder is used.
        encoded: the result of its last call of `encode`.
        beams: number of beams of each utterance.
    """

    def __init__(self, recogniser: Recogniser, encoded: Encoded, beams: int) -> None:
        self._recogniser, self._beams = recogniser, beams
        by_input = recogniser.routed_by_input
        self._shared = beams if not by_input else 1
        self._apart = beams // self._shared
        self._take(encoded.of(_repeated(len(encoded.states), self._apart, encoded)))
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    @property
    def device(self) -> torch.device:
        """The device for tokens."""
        return self._encoded.states.device

    def start(self, prompt: Tensor) -> Tensor:
        """Logits `(utterances, beams, vocabulary)` of the first token after `prompt` `(tokens,)`."""
        rows = len(self._encoded.states)
        logits = self._run(prompt.expand(rows, -1))[:, -1]
        # The beams of an utterance start from the same state.
        repeated = _repeated(rows, self._shared, self._encoded)
        if self._shared > 1:
            self._cache.self_attention_cache.batch_select_indices(repeated)
        return logits[repeated].unflatten(0, (-1, self._beams))

    def step(self, tokens: Tensor) -> Tensor:
        """Logits `(utterances, beams, vocabulary)` of the token after `tokens` `(utterances, beams)`."""
        with _beams_as_time(self._recogniser, self._shared):
            return self._run(tokens.flatten()[:, None])[:, -1].unflatten(0, tokens.shape)

    def follow(self, parents: Tensor) -> None:
        """Replace the history of each beam by that of the beam `parents` `(utterances, beams)`."""
        if self._beams > 1:
            first = torch.arange(0, parents.numel(), self._beams, device=parents.device)
            self._cache.self_attention_cache.batch_select_indices((first[:, None] + parents).flatten())

    def keep(self, rows: Tensor) -> None:
        """Keep only the utterances at `rows` `(kept,)`."""
        self._take(self._encoded.of(_beams_of(rows, self._apart)))
        self._cache.self_attention_cache.batch_select_indices(_beams_of(rows, self._beams))
        self._cache.cross_attention_cache.batch_select_indices(_beams_of(rows, self._apart))

    def _take(self, encoded: Encoded) -> None:
        self._encoded = encoded
        self._inputs = self._recogniser.generation_inputs(encoded)

    def _run(self, tokens: Tensor) -> Tensor:
        """Logits `(rows, tokens, vocabulary)` of new `tokens` `(rows, tokens)`."""
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
    """In this block, cross-attention receives `beams` rows of one token as one row of `beams` tokens."""

    def fold(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (_folded(args[0], beams), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _folded(kwargs["hidden_states"], beams)}

    def unfold(module: nn.Module, args: tuple[Any, ...], output: tuple[Any, ...]) -> Any:
        return output[0].flatten(0, 1)[:, None], *output[1:]

    handles = []
    if beams > 1:
        for module in _cross_attention(recogniser):
            # First of all hooks, so that the others see one row per utterance.
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
    """The modules that contain the recogniser's cross-attention projections."""
    modules = dict(recogniser.network.named_modules(prefix="network"))
    names = (name.rpartition(".")[0] for name in modules if re.fullmatch(recogniser.sites["cross"], name))
    return [modules[name] for name in dict.fromkeys(names)]
