"""The guard against outputs that loop: Whisper repeats itself on speech that it does not understand.

An output loops if it compresses too well, repeats a phrase, or has too many tokens for its audio. It is
decoded again with the whole context, and if it still loops, with repetition blocked. The guard is the same
for all arms, and deterministic. (The compression ratio is that of openai/whisper, transcribe.py, which goes
on to sampling at higher temperatures.)
"""

import zlib

from torch import Tensor

from saml.compat.torchaudio import ensure
from saml.decoding.beam_search import Scorer

ensure()
from transformers import NoRepeatNGramLogitsProcessor  # noqa: E402

# As Whisper's `compression_ratio_threshold`.
_COMPRESSION = 2.4
_TOKENS_PER_SECOND = 30.0
# A phrase of two words or more so many times in a row; a single word more often, because spelled letters and
# numbers have "three three three".
_PHRASE_REPEATS = 3
_WORD_REPEATS = 5
_LONGEST_PHRASE = 12  # words
# While repetition is blocked, no such sequence of tokens occurs twice: three subwords, or twelve characters.
_BLOCKED_SUBWORDS = 3
_BLOCKED_CHARACTERS = 12
_SMALL_VOCABULARY = 100  # tokens of a vocabulary of characters, at most


def loops(text: str, tokens: int, seconds: float) -> bool:
    """Whether an output of `tokens` tokens for `seconds` of audio repeats itself."""
    return (
        compression_ratio(text) > _COMPRESSION
        or repeats_phrase(text)
        or tokens > _TOKENS_PER_SECOND * seconds
    )


def compression_ratio(text: str) -> float:
    """Bytes of the text by bytes of its zlib compression."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def repeats_phrase(text: str) -> bool:
    """Whether a phrase occurs three times in a row, or a word five times; case and marks do not count."""
    words = ["".join(letter for letter in word if letter.isalnum()) for word in text.lower().split()]
    words = [word for word in words if word]
    for length in range(1, min(_LONGEST_PHRASE, len(words) // 2) + 1):
        needed = length * ((_PHRASE_REPEATS if length > 1 else _WORD_REPEATS) - 1)
        equal = 0
        for word, later in zip(words, words[length:], strict=False):
            equal = equal + 1 if word == later else 0
            if equal >= needed:
                return True
    return False


class BlockedRepeats:
    """A `beam_search.Scorer` under which no sequence of tokens occurs twice in a text."""

    def __init__(self, vocabulary: int, then: Scorer | None = None) -> None:
        size = _BLOCKED_CHARACTERS if vocabulary <= _SMALL_VOCABULARY else _BLOCKED_SUBWORDS
        self._block = NoRepeatNGramLogitsProcessor(size)
        self._then = then

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores after those of another scorer, if there is one; see `Scorer`."""
        if self._then is not None:
            scores = self._then(input_ids, scores)
        blocked: Tensor = self._block(input_ids, scores)
        return blocked

    def keep(self, rows: Tensor) -> None:
        """Nothing is kept but by the other scorer."""
        if self._then is not None:
            self._then.keep(rows)
