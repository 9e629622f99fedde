"""Where a base model comes from: trained here, or given as a checkpoint of somebody else's.

Light on purpose: the workflow asks it before any job starts.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saml.models.checkpoints.files import (
    ADDED,
    CONFIG,
    GENERATION,
    MERGES,
    TOKENIZER,
    VOCABULARY,
    Lacking,
    find_files,
    find_weights,
    in_folder,
)
from saml.models.checkpoints.foreign import ADAPTER, foreign_file, foreign_folder, lone_file
from saml.models.checkpoints.hub import HUB, cache_of, hub_checkpoint, is_hub_name
from saml.runtime.errors import SamlError
from saml.runtime.files import checksum
from saml.runtime.paths import expand

_ADVICE = (
    f"point it to a folder with {CONFIG}, weights and a vocabulary, as transformers' save_pretrained writes "
    "them or faster-whisper has them (config/README.md says more)"
)
_WEB = re.compile(r"https?://(?:www\.)?huggingface\.co/([^/]+/[^/?#]+)")


def is_given(model: Mapping[str, Any]) -> bool:
    """Whether a config's `model` section names a checkpoint, so that no base model is trained."""
    return model["family"] == "whisper" and model["whisper"]["checkpoint"] is not None


def checkpoint_path(model: Mapping[str, Any], *, fetch: bool = True) -> Path:
    """The checkpoint: a folder that transformers or CTranslate2 wrote, or a `.pt` of OpenAI's.

    `~` and environment variables in its name are filled in, so that a configuration can name the variable
    alone: nothing of it changes from machine to machine. `hf://<owner>/<name>[@<revision>]` is a model on the
    Hugging Face hub; what is not in the cache is downloaded unless `fetch` is false.

    Raises SamlError, saying how to come by one, where there is no such checkpoint, it is something else, or a
    file of it is missing.
    """
    own = model[model["family"]]
    key, named = f"model.{model['family']}.checkpoint", str(own["checkpoint"])
    expanded = expand(named, key, _ADVICE)
    try:
        if expanded.startswith(HUB):
            path = hub_checkpoint(expanded, fetch=fetch, own_vocabulary=own["characters"] is None)
        else:
            path = _given(expanded, named)
        _check_files(path, own_vocabulary=own["characters"] is None)
    except SamlError as error:
        raise SamlError(f"{key}: {error}") from None
    except OSError as error:
        refused = f"{key}: {error.filename or expanded}: {error.strerror or error}"
        raise SamlError(f"{refused}; make it readable, or name another") from None
    return path


def _given(expanded: str, named: str) -> Path:
    """What a name stands for that is not of the hub: a file or folder that exists."""
    path = Path(expanded)
    if expanded and (path.is_file() or path.is_dir()):
        return path
    web = _WEB.match(expanded)
    if web is not None or is_hub_name(expanded):
        advice = f"for the model on the Hugging Face hub write {HUB}{web[1] if web else expanded}"
        raise SamlError(f"there is no folder {expanded}; {advice}")
    raise SamlError(f"there is no folder {expanded or repr(named)}; {_ADVICE}")


def _check_files(path: Path, *, own_vocabulary: bool) -> None:
    """Raise SamlError, saying what it is, where `path` is no checkpoint or a file of it is another thing."""
    if path.is_file():
        if (kind := lone_file(path)) is not None:
            raise SamlError(f"{path} {kind}")
        return
    try:
        files = find_files(in_folder(path), own_vocabulary=own_vocabulary)
    except Lacking as error:
        kind = foreign_folder(path)
        lacking = f"has {error}; {error.remedy or _ADVICE}"
        raise SamlError(f"{path} {lacking if error.remedy or kind is None else kind}") from None
    if (path / ADAPTER).is_file():
        raise SamlError(
            f"{path} has a PEFT adapter beside a whole model, and transformers would load the adapter's "
            f"base; move {ADAPTER} elsewhere"
        )
    for file in files:
        if (kind := foreign_file(file)) is not None:
            raise SamlError(f"{file} is {kind.what}; {again(path, kind.remedy)}")


def again(path: Path, otherwise: str = "copy or download it again") -> str:
    """What to do about a damaged file of the checkpoint `path`; `otherwise` outside the hub's cache."""
    cache = cache_of(path)
    return otherwise if cache is None else f"delete {cache}, and it is downloaded again"


def weights_of(path: Path) -> list[Path]:
    """The files of a checkpoint that hold its weights. Raises SamlError where it has none."""
    return [path] if path.is_file() else list(find_weights(in_folder(path)).files)


def checksums(path: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint that counts, by name.

    Raises SamlError where it has no weights.
    """
    folder = path.parent if path.is_file() else path
    vocabulary = [folder / name for name in (TOKENIZER, MERGES)]
    own = any(file.is_file() for file in vocabulary) or path.is_file()
    names = (CONFIG, VOCABULARY, *((GENERATION, TOKENIZER, MERGES, ADDED) if own else ()))
    files = [folder / name for name in names if (folder / name).is_file()]
    index = None if path.is_file() else find_weights(in_folder(path)).index
    files += [*(folder.glob("*.tiktoken") if own else ()), *weights_of(path), *([index] if index else ())]
    return {file.name: checksum(file) for file in sorted(files)}
