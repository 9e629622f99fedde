"""CTC's say in a beam search: how likely speech is to begin with a hypothesis (Watanabe et al. 2017).

A hypothesis grows token by token, as the decoder makes it. Its *prefix score* is the probability of all texts
that begin with it, summed over all alignments; it can only fall with another token. When the hypothesis ends,
its own probability takes the place of the prefix's, so that what is added up over a search is the text's CTC
probability.

Everything is computed in double precision on the CPU: the amounts are small, running sums have no
deterministic form on a GPU, and probabilities can be multiplied where single precision would be 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_ZERO = float("-inf")


@dataclass(frozen=True)
class Prefixes:
    """What is known of `beams` prefixes of each utterance; all scores are logarithms.

    Attributes:
        token: `(batch, beams, frames + 1)`, the probability that the first 0, 1, ... frames spell the prefix
            and end in its last token.
        blank: the same, but that they end in a blank.
        last: `(batch, beams)`, the last token; -1 for an empty prefix.
        score: `(batch, beams)`, the prefix score.
    """

    token: Tensor
    blank: Tensor
    last: Tensor
    score: Tensor

    def of(self, beams: Tensor) -> "Prefixes":
        """The prefixes that stand at `beams` `(batch, chosen)`; one may be chosen several times."""
        frames = beams[..., None].expand(-1, -1, self.token.shape[2])
        return Prefixes(
            self.token.gather(1, frames),
            self.blank.gather(1, frames),
            self.last.gather(1, beams),
            self.score.gather(1, beams),
        )

    def at(self, rows: Tensor) -> "Prefixes":
        """Those of the utterances at `rows` `(chosen,)`."""
        return Prefixes(self.token[rows], self.blank[rows], self.last[rows], self.score[rows])


class PrefixScorer:
    """Prefix scores of a batch of utterances.

    Args:
        logits: of the CTC head, `(batch, frames, vocabulary)`.
        lengths: how many frames of each are real, `(batch,)`.
        blank: the token that is none.
    """

    def __init__(self, logits: Tensor, lengths: Tensor, blank: int) -> None:
        scores = logits.detach().cpu().double().log_softmax(dim=-1)
        self.lengths, self.blank = lengths.cpu(), blank
        self._padding = torch.arange(scores.shape[1]) >= self.lengths[:, None]
        # What comes after an utterance is counted by nobody, but must not turn running sums into nonsense.
        self._scores = scores.masked_fill(self._padding[..., None], 0.0)
        self._probabilities = self._scores.exp()
        # Of emitting the same token from the first frame on, and before it: (batch, frames + 1, vocabulary).
        self._runs = torch.nn.functional.pad(self._scores.cumsum(dim=1), (0, 0, 1, 0))

    def keep(self, rows: Tensor) -> None:
        """Go on with the utterances at `rows` `(kept,)` only."""
        for name in ("lengths", "_padding", "_scores", "_probabilities", "_runs"):
            setattr(self, name, getattr(self, name)[rows])

    def start(self, beams: int) -> Prefixes:
        """Empty prefixes: so far all frames are blank."""
        blank = self._runs[:, None, :, self.blank].expand(-1, beams, -1)
        last = torch.full(blank.shape[:2], -1)
        return Prefixes(torch.full_like(blank, _ZERO), blank, last, torch.zeros_like(blank[..., 0]))

    def following(self, prefixes: Prefixes) -> Tensor:
        """The score of each prefix with one token more, for every token, `(batch, beams, vocabulary)`."""
        before = torch.logaddexp(prefixes.token, prefixes.blank)[..., :-1]
        before = before.masked_fill(self._padding[:, None], _ZERO)
        highest = before.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(before.dtype).min)
        scores = torch.matmul((before - highest).exp(), self._probabilities).log() + highest
        # The last token again only where a blank stands between: else it would be the same token.
        last = prefixes.last.clamp(min=0)[..., None]
        again = self._of_token(last, prefixes.blank[..., :-1])
        again = torch.where(prefixes.last[..., None] < 0, scores.gather(2, last), again)
        scores = scores.scatter(2, last, again)
        scores[..., self.blank] = _ZERO
        return scores

    def complete(self, prefixes: Prefixes) -> Tensor:
        """The probability that all of an utterance's speech is the prefix, `(batch, beams)`."""
        end = self.lengths[:, None, None].expand(-1, prefixes.last.shape[1], 1)
        return torch.logaddexp(prefixes.token.gather(2, end), prefixes.blank.gather(2, end))[..., 0]

    def extend(self, prefixes: Prefixes, tokens: Tensor) -> Prefixes:
        """The prefixes with one of `tokens` `(batch, beams)` more each."""
        same = (tokens == prefixes.last)[..., None]
        before = torch.where(same, prefixes.blank, torch.logaddexp(prefixes.token, prefixes.blank))[..., :-1]
        runs = self._runs.transpose(1, 2)
        token = _since(before, runs.gather(1, tokens[..., None].expand(-1, -1, runs.shape[2])))
        blank = _since(token[..., :-1], runs[:, None, self.blank])
        return Prefixes(token, blank, tokens, self._of_token(tokens[..., None], before)[..., 0])

    def _of_token(self, token: Tensor, before: Tensor) -> Tensor:
        """The score of `token` at any frame, both `(batch, beams, 1)`, where `before` is what precedes it."""
        scores = self._scores.transpose(1, 2).gather(1, token.expand(-1, -1, before.shape[2]))
        return (before + scores).masked_fill(self._padding[:, None], _ZERO).logsumexp(dim=-1, keepdim=True)


def _since(before: Tensor, run: Tensor) -> Tensor:
    """Paths that stay in one token, or blank, from any frame on: `(batch, beams, frames + 1)`.

    The recursion r_t = (r_{t-1} + before_{t-1}) p_t, all frames at once: a path that enters at frame s and
    stays has before_{s-1} p_s ... p_t, and the logarithm of such a product is a difference of sums, `run`.
    """
    paths = torch.logcumsumexp(before - run[..., :-1], dim=-1) + run[..., 1:]
    return torch.nn.functional.pad(paths, (1, 0), value=_ZERO)


class JointScores:
    """Makes a search joint: each next token has (1 - weight) decoder's + weight CTC's score.

    A search puts its beams in another order from step to step and drops some: whom a beam continues is seen
    by its tokens.

    Args:
        scorer: CTC's scores of the batch.
        prompt: how many of the decoder's tokens stand before the text.
        end: the token that ends a text.
        weight: of CTC, from 0 to 1.
        normalise: whether the decoder's scores come as logits (in greedy search), not as log-probabilities.
    """

    def __init__(
        self, scorer: PrefixScorer, *, prompt: int, end: int, weight: float, normalise: bool
    ) -> None:
        self._scorer, self._prompt, self._end = scorer, prompt, end
        self._weight, self._normalise = weight, normalise
        self._tokens = torch.empty(0)
        self._prefixes: Prefixes | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Joint scores `(beams, vocabulary)` of what may follow `input_ids` `(beams, tokens)`."""
        prefixes = self._follow(
            input_ids[:, self._prompt :].cpu().unflatten(0, (len(self._scorer.lengths), -1))
        )
        following = self._scorer.following(prefixes)
        following[..., self._end] = self._scorer.complete(prefixes)
        ctc = (following - prefixes.score[..., None]).flatten(0, 1).to(scores.device, scores.dtype)
        decoder = scores.log_softmax(dim=-1) if self._normalise else scores
        joint = (1 - self._weight) * decoder + self._weight * ctc
        # What either thinks impossible is, at any weight; so is what follows an impossible prefix.
        return torch.where(scores.isneginf() | ~ctc.isfinite(), _ZERO, joint)

    def keep(self, rows: Tensor) -> None:
        """Go on with the utterances at `rows` `(kept,)` only."""
        rows = rows.cpu()
        self._scorer.keep(rows)
        if self._prefixes is not None:
            self._prefixes, self._tokens = self._prefixes.at(rows), self._tokens[rows]

    def _follow(self, tokens: Tensor) -> Prefixes:
        """The state of the hypotheses `tokens` `(batch, beams, tokens)`, from that of one token before."""
        if self._prefixes is None or not tokens.shape[2]:
            prefixes = self._scorer.start(tokens.shape[1])
        else:
            # (batch, beams now, beams before): who has the same tokens but the newest.
            same = (tokens[:, :, None, :-1] == self._tokens[:, None]).all(dim=-1)
            assert bool(same.any(dim=2).all()), "a search that goes on from what it never had"
            prefixes = self._scorer.extend(self._prefixes.of(same.int().argmax(dim=2)), tokens[..., -1])
        self._tokens, self._prefixes = tokens, prefixes
        return prefixes
