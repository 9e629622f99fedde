"""Whisper's tokeniser from the files beside its weights: transformers' new and old ones, or OpenAI's own."""

import base64
from pathlib import Path

from tokenizers import Tokenizer
from transformers import WhisperTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.whisper.tokenization_whisper import LANGUAGES
from transformers.tokenization_utils_base import generate_merges

from saml.models.checkpoints.files import ADDED, MERGES, TOKENIZER, VOCABULARY
from saml.models.tokenisers.byte_level import END, LANGUAGE, NO_TIMESTAMPS, START, TASK
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object

_TASKS = (TASK, "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", NO_TIMESTAMPS)
_TIMESTAMPS = tuple(f"<|{0.02 * number:.2f}|>" for number in range(1501))  # 0 to 30 s


def read_tokenizer(folder: Path, size: int) -> Tokenizer:
    """The tokeniser in `folder`, of a network with `size` token ids.

    Looked for in this order: tokenizer.json; vocab.json with merges.txt and, if it is there,
    added_tokens.json; a table of OpenAI's (gpt2.tiktoken, multilingual.tiktoken).

    Raises SamlError where there is none, or it is not a byte-level BPE.
    """
    tables = sorted(folder.glob("*.tiktoken"))
    if (folder / TOKENIZER).is_file():
        return _read_by_transformers(folder / TOKENIZER, _ids_of_tokenizer(folder / TOKENIZER))
    if (folder / MERGES).is_file() and (folder / VOCABULARY).is_file():
        added = read_json_object(folder / ADDED) if (folder / ADDED).is_file() else {}
        return _read_by_transformers(folder / VOCABULARY, {**read_json_object(folder / VOCABULARY), **added})
    if len(tables) == 1:
        return _read_table(tables[0], size)
    raise SamlError(
        f"{folder}: no vocabulary of Whisper's; put its {TOKENIZER}, or {VOCABULARY} and {MERGES}, or one "
        ".tiktoken table of OpenAI's there"
    )


def _ids_of_tokenizer(path: Path) -> dict[str, int]:
    content = read_json_object(path)
    try:
        model, before = content["model"], str(content["pre_tokenizer"])
        added = {token["content"]: token["id"] for token in content["added_tokens"]}
        if model["type"] == "BPE" and "ByteLevel" in before:
            return {**model["vocab"], **added}
    except (LookupError, TypeError):
        pass
    raise SamlError(f"{path}: not a byte-level BPE, which Whisper's vocabulary is")


def _read_by_transformers(path: Path, ids: dict[str, int]) -> Tokenizer:
    """What transformers reads in the folder of `path`, if it gives the tokens the `ids` that the files do.

    It does not always: without files it gives a tokeniser of one token, and it numbers special tokens anew
    where one is missing.
    """
    try:
        tokenizer = WhisperTokenizer.from_pretrained(path.parent, local_files_only=True).backend_tokenizer
    except Exception as error:  # the tokenizers library raises no class of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SamlError(f"{path}: cannot read this vocabulary ({reason})") from None
    found = tokenizer.get_vocab(with_added_tokens=True)
    for name in (*ids, START, END, NO_TIMESTAMPS, LANGUAGE, TASK):
        if found.get(name) != ids.get(name):
            raise SamlError(
                f"{path}: the id of the token {name} is {ids.get(name, 'missing')}, but "
                f"{found.get(name, 'missing')} as transformers reads it"
            )
    # Timestamps are not marked as special in published files, and would be found in texts.
    tokenizer.add_special_tokens([token.content for token in tokenizer.get_added_tokens_decoder().values()])
    return tokenizer


def _read_table(path: Path, size: int) -> Tokenizer:
    """OpenAI's table: a line a token, bytes in base64 and rank; special tokens follow in a fixed order.

    transformers' `TikTokenConverter` would read it through the tiktoken library, which remembers tables by
    path: a table that was replaced would be read as it was. So its lines are read here, and converted by
    transformers' own functions.
    """
    letters = bytes_to_unicode()
    try:
        ranks = [line.split(" ") for line in path.read_text(encoding="ascii").splitlines() if line]
        tokens = {"".join(letters[b] for b in base64.b64decode(token)): int(rank) for token, rank in ranks}
    except ValueError as error:
        raise SamlError(f"{path}: not a table of tokens and ranks ({error})") from None
    count = size - len(tokens) - len((END, START, "<|translate|>", *_TASKS, *_TIMESTAMPS))
    if not 1 <= count <= len(LANGUAGES):
        raise SamlError(f"{path}: {len(tokens)} tokens do not suit a Whisper of {size}; take the other table")
    languages = [f"<|{code}|>" for code in LANGUAGES][:count]
    special = [START, *languages, "<|translate|>", *_TASKS, *_TIMESTAMPS]
    # The end of a text is the first special token: the class adds it itself.
    tokenizer = WhisperTokenizer(tokens, generate_merges(tokens), extra_special_tokens=special)
    return tokenizer.backend_tokenizer
