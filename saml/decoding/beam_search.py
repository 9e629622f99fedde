"""Greedy and beam search over the utterances of a batch: those that are finished leave it.

The searches are transformers' own, to the arithmetic: of `generate` with `num_beams`, its `length_penalty` of
1, `early_stopping` off and a limit of new tokens. What differs is that each utterance has a limit of its own,
and is computed no further when nothing can change any more for it: there it goes on until this holds for the
whole batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from saml.decoding.incremental import Decoder
from saml.models.recogniser import Encoded, Recogniser

_NEVER = float("-inf")
# Score of what has none yet; finite, as in transformers, which adds it to real scores.
_UNSCORED = -1e9
# A batch becomes smaller when this share of it has finished: the others' keys and values are copied then.
_SHARE_FINISHED = 1 / 8


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a search may find.

    `beams` 1 is greedy search. A text has at most as many tokens as its utterance has `room` for, its `end`
    included, none of `never`, and does not begin with one of `never_first`. The decoder's input before the
    text is `prompt`.
    """

    beams: int
    room: Sequence[int]
    prompt: Sequence[int]
    end: int
    never: Sequence[int] = ()
    never_first: Sequence[int] = ()


@dataclass(frozen=True)
class Hypothesis:
    """A text's tokens, `end` included where there was room for it, and the mean of their scores.

    Greedy search does not count: its `score` is 0.
    """

    tokens: list[int]
    score: float


class Scorer(Protocol):
    """Has a say in the scores `(rows, vocabulary)` of what follows tokens `(rows, tokens)`, prompt included.

    Rows are the beams of all utterances. `keep` says which utterances `(kept,)` go on, when some have left.
    """

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores to go on with."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances alone."""


def find(
    recogniser: Recogniser, encoded: Encoded, rules: Rules, scorer: Scorer | None = None
) -> list[list[Hypothesis]]:
    """The hypotheses of each utterance that was encoded last, the best first: as many as there are beams."""
    utterances = len(encoded.states)
    places, found = list(range(utterances)), dict[int, list[Hypothesis]]()
    decoder = Decoder(recogniser, encoded, rules.beams)
    prompt = torch.tensor(rules.prompt, device=decoder.device)
    logits = decoder.start(prompt)
    state = (_Greedy if rules.beams == 1 else _Beams)(logits, rules)
    while True:
        parents = state.advance(_allowed(state, logits, prompt, scorer))
        finished = state.finished.tolist()
        for row, place in enumerate(places):
            if finished[row] and place not in found:
                found[place] = state.hypotheses(row)
        if len(found) == utterances:
            return [found[place] for place in range(utterances)]
        decoder.follow(parents)
        if sum(finished) >= _SHARE_FINISHED * len(finished):
            rows = [row for row, done in enumerate(finished) if not done]
            places = [places[row] for row in rows]
            _keep(torch.tensor(rows, device=decoder.device), state, decoder, scorer)
        logits = decoder.step(state.newest)


def _keep(rows: Tensor, *those: Any) -> None:
    for each in those:
        if each is not None:
            each.keep(rows)


def _allowed(state: "_Search", logits: Tensor, prompt: Tensor, scorer: Scorer | None) -> Tensor:
    """The scores `(utterances, beams, vocabulary)` of each beam's next tokens, from the decoder's logits."""
    rules, shape = state.rules, logits.shape
    scores = state.scores_of(logits)
    forbidden = [*rules.never, *(rules.never_first if state.length == 0 else ())]
    if forbidden:
        scores = scores.index_fill(2, torch.tensor(forbidden, device=scores.device), _NEVER)
    if scorer is None:
        return scores
    text = state.running[..., : state.length].flatten(0, 1)
    return scorer(torch.cat([prompt.expand(len(text), -1), text], dim=1), scores.flatten(0, 1)).view(shape)


class _Search:
    """What is known of all utterances in the batch after `length` tokens.

    Attributes:
        running: the tokens of the beams that go on, `(utterances, beams, most room)`.
        finished: the utterances whose hypotheses cannot change any more, `(utterances,)`.
        room: how many tokens a text may have, `(utterances,)`.
    """

    kept: tuple[str, ...] = ("running", "finished", "room")

    def __init__(self, logits: Tensor, rules: Rules) -> None:
        self.rules, self.length = rules, 0
        self.room = torch.tensor(rules.room, device=logits.device)
        shape = (*logits.shape[:2], max(rules.room))
        self.running = torch.full(shape, rules.end, device=logits.device)
        self.finished = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)

    @property
    def newest(self) -> Tensor:
        """The last token of each beam, `(utterances, beams)`."""
        return self.running[..., self.length - 1]

    def keep(self, rows: Tensor) -> None:
        """Go on with the utterances at `rows` only."""
        for name in self.kept:
            setattr(self, name, getattr(self, name)[rows])

    @property
    def _full(self) -> Tensor:
        """The utterances whose texts have no room for another token, `(utterances,)`."""
        return self.length >= self.room

    def scores_of(self, logits: Tensor) -> Tensor:
        """What is added up over a text."""
        raise NotImplementedError

    def advance(self, scores: Tensor) -> Tensor:
        """A token more for each beam, by the tokens' scores `(utterances, beams, vocabulary)`.

        Returns which beam each goes on with, `(utterances, beams)`.
        """
        raise NotImplementedError

    def hypotheses(self, row: int) -> list[Hypothesis]:
        """Those of a finished utterance."""
        raise NotImplementedError

    def _text(self, tokens: Tensor, row: int) -> list[int]:
        """A text of the utterance at `row`, of which `tokens` `(most room,)` begins; the rest is anything."""
        ids: list[int] = tokens[: self.room[row]].tolist()
        return ids[: ids.index(self.rules.end) + 1] if self.rules.end in ids else ids


class _Greedy(_Search):
    """The likeliest token, then the likeliest after it."""

    def scores_of(self, logits: Tensor) -> Tensor:
        return logits

    def advance(self, scores: Tensor) -> Tensor:
        tokens = scores.argmax(dim=-1)
        self.running[..., self.length] = tokens
        self.length += 1
        self.finished = self.finished | (tokens[:, 0] == self.rules.end) | self._full
        return torch.zeros_like(tokens)

    def hypotheses(self, row: int) -> list[Hypothesis]:
        return [Hypothesis(self._text(self.running[row, 0], row), 0.0)]


class _Beams(_Search):
    """The beams whose summed scores are highest go on; ended texts are compared by the mean of theirs.

    Attributes:
        sums: scores of the beams that go on, `(utterances, beams)`.
        texts: the best ended texts, `(utterances, beams, most room)`, filled up with ends.
        means: their scores, `(utterances, beams)`.
        ended: which of them there are already, `(utterances, beams)`.
    """

    kept = (*_Search.kept, "sums", "texts", "means", "ended")

    def __init__(self, logits: Tensor, rules: Rules) -> None:
        super().__init__(logits, rules)
        self.texts = self.running.clone()
        self.means = torch.full(logits.shape[:2], _UNSCORED, device=logits.device)
        self.ended = torch.zeros_like(self.means, dtype=torch.bool)
        # One beam at first: the others would find the same.
        self.sums = torch.full_like(self.means, _UNSCORED)
        self.sums[:, 0] = 0.0

    def scores_of(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(dim=-1)

    def advance(self, scores: Tensor) -> Tensor:
        beams = self.rules.beams
        # Twice as many as go on: half of them may be ends.
        totals = (scores + self.sums[..., None]).flatten(1)
        sums, chosen = totals.topk(2 * beams)
        parents, tokens = chosen // scores.shape[2], chosen % scores.shape[2]
        texts = _at(self.running, parents)
        texts[..., self.length] = tokens
        self.length += 1
        ends = (tokens == self.rules.end) | self._full[:, None]
        self._end(texts, sums, ends)
        # All others before those that ended.
        sums = sums + ends.float() * _UNSCORED
        best = sums.topk(beams)[1]
        self.running, self.sums = _at(texts, best), sums.gather(1, best)
        self.finished = self.finished | ~self._improvable() | self._full
        return parents.gather(1, best)

    def _end(self, texts: Tensor, sums: Tensor, ends: Tensor) -> None:
        """Take the best of the ended texts and of those of `texts` that end now, `(utterances, 2 beams)` all.

        Only what is among the best `beams` may end, of an utterance that is not finished.
        """
        beams = self.rules.beams
        ending = ends & (torch.arange(2 * beams, device=ends.device) < beams) & ~self.finished[:, None]
        means = sums / self.length + (~ending) * _UNSCORED
        means = torch.cat([self.means, means], dim=1)
        best = means.topk(beams)[1]
        self.texts = _at(torch.cat([self.texts, texts], dim=1), best)
        self.means = means.gather(1, best)
        self.ended = torch.cat([self.ended, ending], dim=1).gather(1, best)

    def _improvable(self) -> Tensor:
        """Whether the best beam, ended here, would come before the last ended text, `(utterances,)`."""
        worst = torch.where(self.ended, self.means.amin(dim=1, keepdim=True), _UNSCORED)
        return (self.sums[:, :1] / self.length > worst).any(dim=1)

    def hypotheses(self, row: int) -> list[Hypothesis]:
        scores = self.means[row].tolist()
        return [
            Hypothesis(self._text(text, row), score)
            for text, score in zip(self.texts[row], scores, strict=True)
        ]


def _at(tensor: Tensor, beams: Tensor) -> Tensor:
    """What stands in `tensor` `(utterances, beams, ...)` at `beams` `(utterances, chosen)`."""
    return tensor.gather(1, beams[..., None].expand(-1, -1, tensor.shape[2]))
