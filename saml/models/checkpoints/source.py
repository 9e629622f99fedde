"""Where a base model comes from: trained here, or given as a checkpoint of somebody else's.

Light on purpose: the workflow asks it before any job starts.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saml.runtime.errors import SamlError
from saml.runtime.paths import expand

CONFIG, VOCABULARY = "config.json", "vocab.json"
GENERATION, TOKENIZER, MERGES, ADDED = (
    "generation_config.json",
    "tokenizer.json",
    "merges.txt",
    "added_tokens.json",
)
HUB = "hf://"
_WANTED = [CONFIG, GENERATION, VOCABULARY, TOKENIZER, MERGES, ADDED, "*.safetensors"]


def is_given(model: Mapping[str, Any]) -> bool:
    """Whether a config's `model` section names a checkpoint, so that no base model is trained."""
    return model["family"] == "whisper" and model["whisper"]["checkpoint"] is not None


def checkpoint_path(model: Mapping[str, Any], *, fetch: bool = True) -> Path:
    """The checkpoint: a folder that transformers wrote, or a `.pt` of OpenAI's with its vocabulary beside it.

    Environment variables in its name are filled in, so that a configuration can name the variable alone:
    nothing of it changes from machine to machine. `hf://<owner>/<name>[@<revision>]` is a model on the
    Hugging Face hub, downloaded once unless `fetch` is false.

    Raises SamlError, saying how to come by one, where there is no such checkpoint or a file of it is missing.
    """
    own = model[model["family"]]
    key, named = f"model.{model['family']}.checkpoint", str(own["checkpoint"])
    advice = (
        f"point it to a folder with {CONFIG}, model.safetensors and {VOCABULARY}, as transformers' "
        "save_pretrained writes them (config/README.md says more)"
    )
    expanded = expand(named, key, advice)
    path = _hub(expanded, key, fetch=fetch) if expanded.startswith(HUB) else Path(expanded)
    if path.suffix == ".pt" and path.is_file():
        return path
    if not path.is_dir():
        raise SamlError(f"{key}: there is no folder {expanded or repr(named)}; {advice}")
    # Characters come from vocab.json alone; another vocabulary has several kinds of files.
    needed = (CONFIG,) if own["characters"] is None else (CONFIG, VOCABULARY)
    for name in needed:
        if not (path / name).is_file():
            raise SamlError(f"{key}: {path} has no {name}; {advice}")
    if not list(path.glob("*.safetensors")):
        raise SamlError(f"{key}: {path} has no weights in safetensors; {advice}")
    return path


def weights_of(path: Path) -> list[Path]:
    """The files of a checkpoint that hold its weights."""
    return [path] if path.is_file() else sorted(path.glob("*.safetensors"))


def checksums(path: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint that counts, by name."""
    folder = path.parent if path.is_file() else path
    vocabulary = [folder / name for name in (TOKENIZER, MERGES)]
    own = any(file.is_file() for file in vocabulary) or path.is_file()
    names = (CONFIG, VOCABULARY, *((GENERATION, TOKENIZER, MERGES, ADDED) if own else ()))
    files = [folder / name for name in names if (folder / name).is_file()]
    files += [*(folder.glob("*.tiktoken") if own else ()), *weights_of(path)]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def _hub(named: str, key: str, *, fetch: bool) -> Path:
    """The folder of a model on the hub: in the local cache, or downloaded into it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name, _, revision = named.removeprefix(HUB).partition("@")

    def snapshot(*, cached: bool) -> Path:
        return Path(
            snapshot_download(
                name, revision=revision or None, allow_patterns=_WANTED, local_files_only=cached
            )
        )

    try:
        return snapshot(cached=True)
    except HFValidationError:
        raise SamlError(f"{key}: {named} is not {HUB}<owner>/<name>[@<revision>]") from None
    except (OSError, ValueError):  # not in the cache
        if not fetch:
            raise SamlError(f"{key}: {named} is not downloaded yet") from None
    try:
        return snapshot(cached=False)
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SamlError(
            f"{key}: cannot download {named} ({reason}); where there is no network, copy the model's folder "
            "here and name that"
        ) from None
