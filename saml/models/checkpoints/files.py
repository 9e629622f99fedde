"""The files of a checkpoint that are read, in a folder or on the hub: transformers' format and CTranslate2's.

One list for both places, in transformers' order of preference, so that what is fetched is what is read.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object

CONFIG, VOCABULARY = "config.json", "vocab.json"
GENERATION, TOKENIZER, MERGES, ADDED = (
    "generation_config.json",
    "tokenizer.json",
    "merges.txt",
    "added_tokens.json",
)
SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
CTRANSLATE2 = "model.bin"
INDEX = ".index.json"  # after the name of weights that come in shards
_SHARD = re.compile(r"\w[\w.-]*")

# The place of a file by its name; None where the checkpoint has none of that name.
Find = Callable[[str], Path | None]


class Lacking(SamlError):
    """A checkpoint that lacks a file; the message is what it has not: "no config.json".

    `remedy` is what to do, where that is another thing than to name a checkpoint.
    """

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True)
class Weights:
    """The files with a checkpoint's weights, and the index that lists them where they are shards."""

    files: tuple[Path, ...]
    index: Path | None = None

    @property
    def pickled(self) -> bool:
        """Whether they are torch's files."""
        return self.files[0].suffix != ".safetensors" and not self.ctranslate2

    @property
    def ctranslate2(self) -> bool:
        """Whether they are in CTranslate2's format."""
        return self.files[0].name == CTRANSLATE2


def find_files(find: Find, *, own_vocabulary: bool) -> list[Path]:
    """Ask `find` for every file that is read of a checkpoint; those that it has.

    `own_vocabulary` is whether the tokens are Whisper's own, and not characters.

    Raises Lacking where one is missing that there must be, and SamlError where an index of shards is damaged.
    """
    small: list[Path | None] = [_needed(find, CONFIG)]
    if own_vocabulary:
        small += [find(GENERATION), *_vocabulary(find)]
    else:
        small += [_characters(find)]
    weights = find_weights(find)
    return [path for path in (*small, weights.index, *weights.files) if path is not None]


def find_weights(find: Find) -> Weights:
    """The weights of a checkpoint: safetensors, torch's own files, CTranslate2's; one file before shards.

    Raises Lacking where there are none or a shard is missing, and SamlError where the index is damaged.
    """
    for name in (SAFETENSORS, PICKLED):
        if (whole := find(name)) is not None:
            return Weights((whole,))
        if (index := find(name + INDEX)) is not None:
            shards = sorted(set(shards_by_tensor(index).values()))
            return Weights(
                tuple(_needed(find, shard, f", which {index.name} lists") for shard in shards), index
            )
    if (whole := find(CTRANSLATE2)) is not None:
        return Weights((whole,))
    raise Lacking(
        f"no weights ({SAFETENSORS}, {PICKLED}, or {CTRANSLATE2} of CTranslate2, or shards with "
        f"{SAFETENSORS}{INDEX})"
    )


def shards_by_tensor(index: Path) -> dict[str, str]:
    """The file's name for each tensor, as an index of shards says.

    Raises SamlError where it says something else, or names a file that is not beside it.
    """
    shards = read_json_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise SamlError(f"{index}: no index of shards, it has no weight_map")
    for shard in shards.values():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise SamlError(f"{index}: {shard!r:.80} is no name of a file beside it")
    return shards


def in_folder(folder: Path) -> Find:
    """Finds files that lie in `folder`."""
    return lambda name: path if (path := folder / name).is_file() else None


def _needed(find: Find, name: str, why: str = "") -> Path:
    if (path := find(name)) is None:
        raise Lacking(f"no {name}{why}")
    return path


def _characters(find: Find) -> Path:
    if (path := find(VOCABULARY)) is not None:
        return path
    if find(TOKENIZER) is None:
        raise Lacking(f"no {VOCABULARY}")
    raise Lacking(f"no {VOCABULARY} of characters, but {TOKENIZER}", "say model.whisper.characters: null")


def _vocabulary(find: Find) -> list[Path | None]:
    """One kind of file is enough; their reader says what is wrong where there is none."""
    if (tokenizer := find(TOKENIZER)) is not None:
        return [tokenizer]
    return [find(VOCABULARY), find(MERGES), find(ADDED)]
