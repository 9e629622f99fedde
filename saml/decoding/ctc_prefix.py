"""CTC prefix scores for joint CTC/attention beam search (Watanabe et al. 2017).

A hypothesis grows token by token. Its *prefix score* is the log-probability of all texts that begin with it,
summed over all alignments; it decreases with each token. At the end of the hypothesis the probability of the
text itself replaces the prefix's, so that the scores of a search sum to the CTC probability of the text.

Everything is computed in double precision on the CPU: the amounts are small, cumulative sums have no
deterministic implementation on a GPU, and products of probabilities would underflow in single precision.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_ZERO = float("-inf")


@dataclass(frozen=True)
class Prefixes:
    """The state of `beams` prefixes of each utterance; all scores are logarithms.

    Attributes:
        token: `(batch, beams, frames + 1)`, the probability that the first 0, 1, ... frames emit the prefix
            and end in its last token.
        blank: the same for an end in a blank.
        last: `(batch, beams)`, the last token; -1 for an empty prefix.
        score: `(batch, beams)`, the prefix score.
    """

    token: Tensor
    blank: Tensor
    last: Tensor
    score: Tensor

    def of(self, beams: Tensor) -> "Prefixes":
        """The prefixes at `beams` `(batch, chosen)`; one may be chosen several times."""
        frames = beams[..., None].expand(-1, -1, self.token.shape[2])
        return Prefixes(
            self.token.gather(1, frames),
            self.blank.gather(1, frames),
            self.last.gather(1, beams),
            self.score.gather(1, beams),
        )

    def at(self, rows: Tensor) -> "Prefixes":
        """The prefixes of the utterances at `rows` `(chosen,)`."""
        return Prefixes(self.token[rows], self.blank[rows], self.last[rows], self.score[rows])


class PrefixScorer:
    """Prefix scores of a batch of utterances.

    Args:
        logits: of the CTC head, `(batch, frames, vocabulary)`.
        lengths: number of frames of each utterance, `(batch,)`.
        blank: index of the blank.
    """

    def __init__(self, logits: Tensor, lengths: Tensor, blank: int) -> None:
        scores = logits.detach().cpu().double().log_softmax(dim=-1)
        self.lengths, self.blank = lengths.cpu(), blank
        self._padding = torch.arange(scores.shape[1]) >= self.lengths[:, None]
        # Padding is never counted, but must be finite for the cumulative sums.
        self._scores = scores.masked_fill(self._padding[..., None], 0.0)
        self._probabilities = self._scores.exp()
        # Score of emitting one token in all frames up to each: (batch, frames + 1, vocabulary).
        self._runs = torch.nn.functional.pad(self._scores.cumsum(dim=1), (0, 0, 1, 0))

    def keep(self, rows: Tensor) -> None:
        """Keep only the utterances at `rows` `(kept,)`."""
        for name in ("lengths", "_padding", "_scores", "_probabilities", "_runs"):
            setattr(self, name, getattr(self, name)[rows])

    def start(self, beams: int) -> Prefixes:
        """`beams` empty prefixes of each utterance: all frames are blank."""
        blank = self._runs[:, None, :, self.blank].expand(-1, beams, -1)
        last = torch.full(blank.shape[:2], -1)
        return Prefixes(torch.full_like(blank, _ZERO), blank, last, torch.zeros_like(blank[..., 0]))

    def following(self, prefixes: Prefixes) -> Tensor:
        """The score of each prefix extended by each token, `(batch, beams, vocabulary)`."""
        before = torch.logaddexp(prefixes.token, prefixes.blank)[..., :-1]
        before = before.masked_fill(self._padding[:, None], _ZERO)
        highest = before.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(before.dtype).min)
        scores = torch.matmul((before - highest).exp(), self._probabilities).log() + highest
        # A repetition of the last token needs a blank in between; otherwise it would be the same token.
        last = prefixes.last.clamp(min=0)[..., None]
        again = self._of_token(last, prefixes.blank[..., :-1])
        again = torch.where(prefixes.last[..., None] < 0, scores.gather(2, last), again)
        scores = scores.scatter(2, last, again)
        scores[..., self.blank] = _ZERO
        return scores

    def complete(self, prefixes: Prefixes) -> Tensor:
        """The log-probability that the prefix is the whole text, `(batch, beams)`."""
        end = self.lengths[:, None, None].expand(-1, prefixes.last.shape[1], 1)
        return torch.logaddexp(prefixes.token.gather(2, end), prefixes.blank.gather(2, end))[..., 0]

    def extend(self, prefixes: Prefixes, tokens: Tensor) -> Prefixes:
        """Each prefix extended by its token of `tokens` `(batch, beams)`."""
        same = (tokens == prefixes.last)[..., None]
        before = torch.where(same, prefixes.blank, torch.logaddexp(prefixes.token, prefixes.blank))[..., :-1]
        runs = self._runs.transpose(1, 2)
        token = _since(before, runs.gather(1, tokens[..., None].expand(-1, -1, runs.shape[2])))
        blank = _since(token[..., :-1], runs[:, None, self.blank])
        return Prefixes(token, blank, tokens, self._of_token(tokens[..., None], before)[..., 0])

    def _of_token(self, token: Tensor, before: Tensor) -> Tensor:
        """The score of `token` `(batch, beams, 1)`, emitted first at any frame, given the scores `before`.

        `before` `(batch, beams, frames)` is the score of the paths that end just before each frame. The
        result is `(batch, beams, 1)`.
        """
        scores = self._scores.transpose(1, 2).gather(1, token.expand(-1, -1, before.shape[2]))
        return (before + scores).masked_fill(self._padding[:, None], _ZERO).logsumexp(dim=-1, keepdim=True)


def _since(before: Tensor, run: Tensor) -> Tensor:
    """Scores of the paths that remain in one token (or blank) since any frame: `(batch, beams, frames + 1)`.

    The recursion r_t = (r_{t-1} + before_{t-1}) p_t for all frames at once: a path that enters at frame s has
    the probability before_{s-1} p_s ... p_t, whose logarithm is a difference of the cumulative sums `run`.
    """
    paths = torch.logcumsumexp(before - run[..., :-1], dim=-1) + run[..., 1:]
    return torch.nn.functional.pad(paths, (1, 0), value=_ZERO)


class JointScores:
    """Joint CTC/attention scores: (1 - weight) times the decoder's plus weight times CTC's.

    A search reorders and drops beams at each step; the prefix that a beam extends is found by its tokens.

    Args:
        scorer: CTC prefix scores of the batch.
        prompt: number of the decoder's tokens before the text.
        end: the token that ends a text.
        weight: weight of CTC, from 0 to 1.

    The decoder's scores may be logits in greedy search, where a constant does not change the best token.
    """

    def __init__(self, scorer: PrefixScorer, *, prompt: int, end: int, weight: float) -> None:
        self._scorer, self._prompt, self._end, self._weight = scorer, prompt, end, weight
        self._tokens = torch.empty(0)
        self._prefixes: Prefixes | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Joint scores `(beams, vocabulary)` of the next token after `input_ids` `(beams, tokens)`."""
        prefixes = self._follow(
            input_ids[:, self._prompt :].cpu().unflatten(0, (len(self._scorer.lengths), -1))
        )
        following = self._scorer.following(prefixes)
        following[..., self._end] = self._scorer.complete(prefixes)
        ctc = (following - prefixes.score[..., None]).flatten(0, 1).to(scores.device, scores.dtype)
        joint = (1 - self._weight) * scores + self._weight * ctc
        # A token that is impossible for either is impossible at any weight, as after an impossible prefix.
        return torch.where(scores.isneginf() | ~ctc.isfinite(), _ZERO, joint)

    def keep(self, rows: Tensor) -> None:
        """Keep only the utterances at `rows` `(kept,)`."""
        rows = rows.cpu()
        self._scorer.keep(rows)
        if self._prefixes is not None:
            self._prefixes, self._tokens = self._prefixes.at(rows), self._tokens[rows]

    def _follow(self, tokens: Tensor) -> Prefixes:
        """The prefixes of the hypotheses `tokens` `(batch, beams, tokens)`, from those of the last step."""
        if self._prefixes is None or not tokens.shape[2]:
            prefixes = self._scorer.start(tokens.shape[1])
        else:
            # (batch, beams now, beams before): whether all tokens but the newest are equal.
            same = (tokens[:, :, None, :-1] == self._tokens[:, None]).all(dim=-1)
            assert bool(same.any(dim=2).all()), "a hypothesis extends none of the last step"
            prefixes = self._scorer.extend(self._prefixes.of(same.int().argmax(dim=2)), tokens[..., -1])
        self._tokens, self._prefixes = tokens, prefixes
        return prefixes
