"""Greedy and beam search for a batch of utterances; finished utterances leave the batch.

The arithmetic is that of transformers' `generate` with `num_beams`, a `length_penalty` of 1, `early_stopping`
off and a limit of new tokens. There are two differences: each utterance has its own limit, and its
computation ends as soon as its hypotheses cannot change any more, where `generate` continues until this holds
for the whole batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from saml.decoding.incremental import Decoder
from saml.models.recogniser import Encoded, Recogniser

_NEVER = float("-inf")
# Score of unused places; finite, as in transformers, because it is added to real scores.
_UNSCORED = -1e9
# Finished utterances leave when they are this share of the batch, because the others' keys and values are
# copied then.
_SHARE_FINISHED = 1 / 8


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The constraints of a search.

    Attributes:
        beams: hypotheses kept; 1 is greedy search.
        room: for each utterance, the maximum number of tokens, `end` included.
        prompt: the decoder's input before the text.
        end: the token that ends a text.
        never: tokens that no text contains.
        never_first: tokens that no text begins with.
    """

    beams: int
    room: Sequence[int]
    prompt: Sequence[int]
    end: int
    never: Sequence[int] = ()
    never_first: Sequence[int] = ()


@dataclass(frozen=True)
class Hypothesis:
    """A text's tokens, `end` included unless the text fills its room, and the mean of their scores.

    Greedy search computes no scores: its `score` is 0.
    """

    tokens: list[int]
    score: float


class Scorer(Protocol):
    """Modifies the scores `(rows, vocabulary)` of the next token after `(rows, tokens)`, prompt included.

    Rows are the beams of all utterances. `keep` is called when utterances leave the batch.
    """

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The modified scores `(rows, vocabulary)`."""

    def keep(self, rows: Tensor) -> None:
        """Keep only the utterances at `rows` `(kept,)`."""


def find(
    recogniser: Recogniser, encoded: Encoded, rules: Rules, scorer: Scorer | None = None
) -> list[list[Hypothesis]]:
    """The hypotheses of each utterance of `encoded`, best first, as many as there are beams.

    `encoded` is the result of the recogniser's last call of `encode`, whose routes are still set.
    """
    utterances = len(encoded.states)
    places, found = list(range(utterances)), dict[int, list[Hypothesis]]()
    decoder = Decoder(recogniser, encoded, rules.beams)
    prompt = torch.tensor(rules.prompt, device=decoder.device)
    logits = decoder.start(prompt)
    state = (GreedySearch if rules.beams == 1 else BeamSearch)(logits, rules)
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


def _keep(rows: Tensor, *parts: Any) -> None:
    for part in parts:
        if part is not None:
            part.keep(rows)


def _allowed(state: "SearchState", logits: Tensor, prompt: Tensor, scorer: Scorer | None) -> Tensor:
    """The scores `(utterances, beams, vocabulary)` of the next tokens, without forbidden ones."""
    rules, shape = state.rules, logits.shape
    scores = state.scores_of(logits)
    forbidden = [*rules.never, *(rules.never_first if state.length == 0 else ())]
    if forbidden:
        scores = scores.index_fill(2, torch.tensor(forbidden, device=scores.device), _NEVER)
    if scorer is None:
        return scores
    text = state.running[..., : state.length].flatten(0, 1)
    return scorer(torch.cat([prompt.expand(len(text), -1), text], dim=1), scores.flatten(0, 1)).view(shape)


class SearchState:
    """The state of the search for all utterances of the batch after `length` tokens.

    Attributes:
        running: the tokens of the unfinished beams, `(utterances, beams, most room)`.
        finished: whether the hypotheses cannot change any more, `(utterances,)`.
        room: maximum number of tokens, `(utterances,)`.
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
        """Keep only the utterances at `rows`."""
        for name in self.kept:
            setattr(self, name, getattr(self, name)[rows])

    @property
    def _full(self) -> Tensor:
        """Whether the maximum length is reached, `(utterances,)`."""
        return self.length >= self.room

    def scores_of(self, logits: Tensor) -> Tensor:
        """The scores that are summed over a text, of the shape of `logits`."""
        raise NotImplementedError

    def advance(self, scores: Tensor) -> Tensor:
        """Extend each beam by a token, given scores `(utterances, beams, vocabulary)`.

        Returns the index of the beam that each new beam extends, `(utterances, beams)`.
        """
        raise NotImplementedError

    def hypotheses(self, row: int) -> list[Hypothesis]:
        """The hypotheses of a finished utterance, best first."""
        raise NotImplementedError

    def _text(self, tokens: Tensor, row: int) -> list[int]:
        """The text at the start of `tokens` `(most room,)` for the utterance at `row`."""
        ids: list[int] = tokens[: self.room[row]].tolist()
        return ids[: ids.index(self.rules.end) + 1] if self.rules.end in ids else ids


class GreedySearch(SearchState):
    """Greedy search: the most likely token at each step."""

    def scores_of(self, logits: Tensor) -> Tensor:
        """The logits, because scores are compared and not summed."""
        return logits

    def advance(self, scores: Tensor) -> Tensor:
        """Append the most likely token."""
        tokens = scores.argmax(dim=-1)
        self.running[..., self.length] = tokens
        self.length += 1
        self.finished = self.finished | (tokens[:, 0] == self.rules.end) | self._full
        return torch.zeros_like(tokens)

    def hypotheses(self, row: int) -> list[Hypothesis]:
        """The only hypothesis."""
        return [Hypothesis(self._text(self.running[row, 0], row), 0.0)]


class BeamSearch(SearchState):
    """Beam search: beams are compared by the sum of their scores, ended texts by the mean.

    Attributes:
        sums: scores of the unfinished beams, `(utterances, beams)`.
        texts: the best ended texts, `(utterances, beams, most room)`, padded with `end`.
        means: their scores, `(utterances, beams)`.
        ended: whether the place is used, `(utterances, beams)`.
    """

    kept = (*SearchState.kept, "sums", "texts", "means", "ended")

    def __init__(self, logits: Tensor, rules: Rules) -> None:
        super().__init__(logits, rules)
        self.texts = self.running.clone()
        self.means = torch.full(logits.shape[:2], _UNSCORED, device=logits.device)
        self.ended = torch.zeros_like(self.means, dtype=torch.bool)
        # One beam at first, because all would be equal.
        self.sums = torch.full_like(self.means, _UNSCORED)
        self.sums[:, 0] = 0.0

    def scores_of(self, logits: Tensor) -> Tensor:
        """Log-probabilities."""
        return logits.log_softmax(dim=-1)

    def advance(self, scores: Tensor) -> Tensor:
        """Keep the beams with the highest sums; collect the texts that end."""
        beams = self.rules.beams
        # Twice the number of beams, because up to half of them may be ends.
        totals = (scores + self.sums[..., None]).flatten(1)
        sums, chosen = totals.topk(2 * beams)
        parents, tokens = chosen // scores.shape[2], chosen % scores.shape[2]
        texts = _at(self.running, parents)
        texts[..., self.length] = tokens
        self.length += 1
        ends = (tokens == self.rules.end) | self._full[:, None]
        self._end(texts, sums, ends)
        # Texts that have ended come after all others.
        sums = sums + ends.float() * _UNSCORED
        best = sums.topk(beams)[1]
        self.running, self.sums = _at(texts, best), sums.gather(1, best)
        self.finished = self.finished | ~self._improvable() | self._full
        return parents.gather(1, best)

    def _end(self, texts: Tensor, sums: Tensor, ends: Tensor) -> None:
        """Update the best ended texts with those of `texts` that end now; all `(utterances, 2 beams, ...)`.

        Only the best `beams` may end, and only in utterances that are not finished.
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
        """Whether the best beam, if it ended here, would replace an ended text, `(utterances,)`."""
        worst = torch.where(self.ended, self.means.amin(dim=1, keepdim=True), _UNSCORED)
        return (self.sums[:, :1] / self.length > worst).any(dim=1)

    def hypotheses(self, row: int) -> list[Hypothesis]:
        """The ended texts with the highest means."""
        scores = self.means[row].tolist()
        return [
            Hypothesis(self._text(text, row), score)
            for text, score in zip(self.texts[row], scores, strict=True)
        ]


def _at(tensor: Tensor, beams: Tensor) -> Tensor:
    """Select `beams` `(utterances, chosen)` from `tensor` `(utterances, beams, length)`."""
    return tensor.gather(1, beams[..., None].expand(-1, -1, tensor.shape[2]))
