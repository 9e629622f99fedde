"""Whisper's vocabulary from the files beside its weights: transformers' new and old ones, or OpenAI's own."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from saml.compat.transformers import ensure
from saml.models.checkpoints.source import ADDED, MERGES, TOKENIZER, VOCABULARY
from saml.models.tokenisers.bpe import END, LANGUAGE, NO_TIMESTAMPS, START, TASK, Vocabulary
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object

_SPECIAL = re.compile(r"<\|.+\|>")
_TIMESTAMPS = 1501  # 0.00 to 30.00 s


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """The vocabulary in `folder`, of a network with `size` token ids.

    Looked for in this order: tokenizer.json; vocab.json with merges.txt and, if it is there,
    added_tokens.json; a table of OpenAI's (gpt2.tiktoken, multilingual.tiktoken).

    Raises SamlError where there is none, or it is not a byte-level BPE.
    """
    tables = sorted(folder.glob("*.tiktoken"))
    if (folder / TOKENIZER).is_file():
        return _of_tokenizer(folder / TOKENIZER)
    if (folder / MERGES).is_file() and (folder / VOCABULARY).is_file():
        lines = (folder / MERGES).read_text(encoding="utf-8").splitlines()
        added = read_json_object(folder / ADDED) if (folder / ADDED).is_file() else {}
        merges = [line for line in lines if line and not line.startswith("#version")]
        return _vocabulary(read_json_object(folder / VOCABULARY), added, merges, folder / VOCABULARY)
    if len(tables) == 1:
        return _of_table(tables[0], size)
    raise SamlError(
        f"{folder}: no vocabulary of Whisper's; put its {TOKENIZER}, or {VOCABULARY} and {MERGES}, or one "
        ".tiktoken table of OpenAI's there"
    )


def _of_tokenizer(path: Path) -> Vocabulary:
    content = read_json_object(path)
    model = content.get("model", {})
    if model.get("type") != "BPE" or "ByteLevel" not in json.dumps(content.get("pre_tokenizer")):
        raise SamlError(f"{path}: not a byte-level BPE, which Whisper's vocabulary is")
    added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    return _vocabulary(model["vocab"], added, model["merges"], path)


def _of_table(path: Path, size: int) -> Vocabulary:
    """OpenAI's table: a line a token, bytes in base64 and rank; special tokens follow in a fixed order."""
    ensure()
    from transformers.convert_slow_tokenizer import bytes_to_unicode
    from transformers.tokenization_utils_base import generate_merges

    letters = bytes_to_unicode()
    try:
        ranks = [line.split(" ") for line in path.read_text(encoding="ascii").splitlines() if line]
        tokens = {"".join(letters[b] for b in base64.b64decode(token)): int(rank) for token, rank in ranks}
    except ValueError as error:
        raise SamlError(f"{path}: not a table of tokens and ranks ({error})") from None
    first = len(tokens)
    languages = size - first - 8 - _TIMESTAMPS
    if languages < 1:
        raise SamlError(f"{path}: {first} tokens do not suit a Whisper of {size}; take the other table")
    # end, start, languages (English is the first), translate, transcribe, startoflm, startofprev, nospeech
    task = first + 2 + languages + 1
    special = {END: first, START: first + 1, LANGUAGE: first + 2, TASK: task, NO_TIMESTAMPS: task + 4}
    return _vocabulary(tokens, special, generate_merges(tokens), path)


def _vocabulary(
    tokens: Mapping[str, int], added: Mapping[str, int], merges: Iterable[str | Sequence[str]], path: Path
) -> Vocabulary:
    """Ordinary tokens apart from the special ones, which some files have among them."""
    special = {name: index for name, index in tokens.items() if name in added or _SPECIAL.fullmatch(name)}
    ordinary = sorted((index, token) for token, index in tokens.items() if token not in special)
    if [index for index, _ in ordinary] != list(range(len(ordinary))):
        raise SamlError(f"{path}: the ids of its tokens have gaps, which Whisper's have not")
    pairs = tuple(_pair(merge, path) for merge in merges)
    return Vocabulary(tuple(token for _, token in ordinary), pairs, {**special, **added})


def _pair(merge: str | Sequence[str], path: Path) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if len(parts) != 2:
        raise SamlError(f"{path}: {merge!r} is no merge of two tokens")
    return parts[0], parts[1]
