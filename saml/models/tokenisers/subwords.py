"""Subwords as tokens: a byte-pair vocabulary that `sentencepiece` learns from transcripts."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from saml.models.tokenisers.characters import END, PAD, START, normalise_spaces
from saml.runtime.errors import SamlError

UNKNOWN = 3
SPECIAL = 4
_DAMAGED = "the vocabulary of subwords is damaged"
_SPACE = "▁"  # how sentencepiece writes the start of a word


class SubwordTokeniser:
    """Subwords of lower-cased words, behind four special tokens: padding 0, start 1, end 2, unknown 3.

    As with characters, padding doubles as the blank of the CTC loss. No text has the unknown one, which
    sentencepiece insists on: `encode` refuses what has no subword.
    """

    prompt: tuple[int, ...] = (START,)
    end = END
    pad = PAD
    never: tuple[int, ...] = (PAD, START, UNKNOWN)
    never_first: tuple[int, ...] = ()

    def __init__(self, vocabulary: bytes) -> None:
        """`vocabulary` is a model as sentencepiece writes it. Raises SamlError where it is none of ours."""
        try:
            self._subwords = SentencePieceProcessor(model_proto=vocabulary)
        except RuntimeError as error:
            raise SamlError(f"{_DAMAGED} ({error})") from None
        self._vocabulary = vocabulary
        subwords = [self._subwords.id_to_piece(index) for index in range(SPECIAL, self.size)]
        self._characters = {piece for piece in subwords if len(piece) == 1} - {_SPACE}

    @property
    def size(self) -> int:
        """Number of token ids, the special ones included."""
        return int(self._subwords.get_piece_size())

    def unknown(self, text: str) -> str:
        """The characters of `text`, each once and in order, that no subword has."""
        words = normalise_spaces(text).replace(" ", "")
        return "".join(dict.fromkeys(c for c in words if c not in self._characters))

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without start and end.

        Raises SamlError when a character is unknown.
        """
        lacking = self.unknown(text)
        if lacking:
            raise SamlError(f"the tokeniser has no token for {lacking!r} in {text!r}")
        return list(self._subwords.encode(normalise_spaces(text)))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special tokens are left out."""
        text: str = self._subwords.decode([int(i) for i in ids if SPECIAL <= i < self.size])
        return text.strip()

    def to_json(self) -> str:
        """The content of tokenizer.json: sentencepiece's model in base64."""
        return json.dumps({"sentencepiece": base64.b64encode(self._vocabulary).decode()})

    def describe(self) -> dict[str, Any]:
        """What `tokeniser_of` needs beside tokenizer.json to build this tokeniser again."""
        checksum = hashlib.sha256(self.to_json().encode()).hexdigest()
        return {"kind": "subwords", "size": self.size, "sha256": checksum}


def subwords_of(content: str) -> SubwordTokeniser:
    """The tokeniser whose `to_json` gave `content`. Raises SamlError where it is damaged."""
    try:
        vocabulary = base64.b64decode(json.loads(content)["sentencepiece"], validate=True)
    except (ValueError, LookupError, TypeError) as error:
        raise SamlError(f"{_DAMAGED} ({error!r})") from None
    return SubwordTokeniser(vocabulary)


def learn_subwords(transcripts: Iterable[str], characters: str, size: int, key: str) -> SubwordTokeniser:
    """Learn a vocabulary of `size` tokens, the special ones included, by byte-pair encoding.

    Every one of `characters` becomes a subword, whether or not a transcript has it, so that other texts can
    be written too. The same transcripts give the same bytes, in whatever order they come.

    Raises SamlError, naming the configuration's `key`, where so many tokens cannot be learned.
    """
    sentences = sorted(map(normalise_spaces, transcripts))
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            pad_id=PAD,
            bos_id=START,
            eos_id=END,
            unk_id=UNKNOWN,
            required_chars=characters.replace(" ", ""),
            character_coverage=1.0,
            # Texts are lower case with single spaces already; the usual rules weigh 200 kB.
            normalization_rule_name="identity",
            max_sentence_length=1 << 30,  # longer ones would be left out without a word
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        most = re.search(r"value <= (\d+)", str(error))
        hint = f"they have subwords for {most[1]} at most" if most else f"sentencepiece says: {error}"
        raise SamlError(f"{key}: {size} tokens cannot be learned from these transcripts; {hint}") from None
    return SubwordTokeniser(model.getvalue())
