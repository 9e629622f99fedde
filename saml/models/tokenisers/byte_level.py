"""Whisper's own tokens: byte-level BPE, by the `tokenizers` library that transformers uses."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from saml.runtime.errors import SamlError
from saml.runtime.text import plain_line

START, END, NO_TIMESTAMPS = "<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>"
LANGUAGE, TASK = "<|en|>", "<|transcribe|>"
_SPECIAL = re.compile(r"<\|.+\|>")


class WhisperTokeniser:
    """Bytes merged into tokens. A text has one space before it, as every word of Whisper's training had.

    The special tokens of Whisper are no tokens of any text: `encode` never gives one, `decode` leaves them
    out, and a search may only take the one that ends a text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        size: int,
        multilingual: bool,
        lower: bool = True,
        never: Sequence[int] = (),
        never_first: Sequence[int] = (),
    ) -> None:
        """Check that the network and the tokeniser fit.

        Args:
            tokenizer: tokens, merges and special tokens.
            size: token ids of the network; some may have no name (old files leave out the timestamps).
            multilingual: whether the prompt names language and task.
            lower: whether text is lower-cased before it becomes tokens.
            never: tokens that decoding suppresses always, special ones apart.
            never_first: tokens that decoding suppresses at the start.

        Raises:
            SamlError: the ids have gaps, a byte has no token, or a special token is missing.
        """
        ids = tokenizer.get_vocab(with_added_tokens=True)
        added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        self._tokens = {index: token for token, index in ids.items() if not _is_special(token, added)}
        if self._tokens.keys() != set(range(len(self._tokens))):
            raise SamlError("a BPE vocabulary whose token ids have gaps, which Whisper's have not")
        lacking = set(pre_tokenizers.ByteLevel.alphabet()) - set(self._tokens.values())
        if lacking:  # their bytes would vanish from texts without a word
            raise SamlError(f"a BPE vocabulary without tokens for {len(lacking)} of the 256 bytes")
        names = (START, LANGUAGE, TASK, NO_TIMESTAMPS) if multilingual else (START, NO_TIMESTAMPS)
        for name in (*names, END):
            if not len(self._tokens) <= ids.get(name, -1) < size:
                raise SamlError(f"a BPE vocabulary without the special token {name}, which Whisper needs")
        self.prompt = tuple(ids[name] for name in names)
        self.end = self.pad = ids[END]
        self.size, self.multilingual, self.lower = size, multilingual, lower
        self._suppressed, self.never_first = tuple(never), tuple(never_first)
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True  # their names in a text are text

    def choose(self, language: str, task: str) -> None:
        """Name the language that is spoken, and the task, in the prompt.

        Args:
            language: a code ("de") or an English name ("german").
            task: "transcribe", or "translate" into English.

        Raises:
            SamlError: the model knows English only and this is something else, or does not know the language.
        """
        # Imported here for start-up: it brings transformers along, and hardly anybody needs it.
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        code = TO_LANGUAGE_CODE.get(language.lower(), language.lower())
        if not self.multilingual:
            if (code, task) != ("en", "transcribe"):
                raise SamlError(
                    f"this Whisper knows English only, and does not {task} {language!r}; use a multilingual "
                    "one, such as openai/whisper-base"
                )
            return
        names = (START, f"<|{code}|>", f"<|{task}|>", NO_TIMESTAMPS)
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        if code not in TO_LANGUAGE_CODE.values() or not ids.keys() >= set(names):
            raise SamlError(f"this Whisper does not know the language {language!r}, or not how to {task} it")
        self.prompt = tuple(ids[name] for name in names)

    @property
    def never(self) -> tuple[int, ...]:
        """Tokens that a search may not take: special ones but the end, empty ones, the checkpoint's own."""
        special = set(range(len(self._tokens), self.size))
        empty = {index for index, token in self._tokens.items() if not token}
        return tuple(sorted((special | empty | set(self._suppressed)) - {self.end}))

    def unknown(self, text: str) -> str:
        """No character: all are made of bytes."""
        return ""

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` in the form of `plain_line`, without prompt and end; capitals may stay."""
        words = plain_line(text.lower() if self.lower else text)
        return list(self._tokenizer.encode(f" {words}", add_special_tokens=False).ids) if words else []

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special tokens and the space before it are left out."""
        text: str = self._tokenizer.decode([i for i in ids if i in self._tokens])
        return text.strip()

    def to_json(self) -> str:
        """The content of tokenizer.json, in the format of the `tokenizers` library."""
        return self._tokenizer.to_str()

    def describe(self) -> dict[str, Any]:
        """What `tokeniser_of` needs beside tokenizer.json to build this tokeniser again."""
        return {
            "kind": "whisper",
            "size": self.size,
            "multilingual": self.multilingual,
            "lower": self.lower,
            "never": list(self._suppressed),
            "never_first": list(self.never_first),
            "sha256": hashlib.sha256(self.to_json().encode()).hexdigest(),
        }


def whisper_tokeniser_of(description: Mapping[str, Any], content: str) -> WhisperTokeniser:
    """The tokeniser that `describe` and `to_json` gave. Raises SamlError where the content is damaged."""
    names = ("size", "multilingual", "lower", "never", "never_first")
    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library raises no class of its own
        raise SamlError(f"not a tokeniser of the tokenizers library ({error})") from None
    return WhisperTokeniser(tokenizer, **{name: description[name] for name in names})


def _is_special(token: str, added: set[str]) -> bool:
    """Some files have special tokens among the ordinary ones."""
    return token in added or _SPECIAL.fullmatch(token) is not None
