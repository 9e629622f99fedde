"""A checkpoint on the Hugging Face hub: in the local cache, or downloaded into it.

Something in the cache is not all of it, so every file that will be read is looked up; only what is missing is
asked for. A file lies in the cache once it is complete: a download that was cut short goes on with that one.
"""

import re
from collections.abc import Collection
from pathlib import Path

from saml.models.checkpoints.files import CONFIG, CTRANSLATE2, TOKENIZER, Find, Lacking, find_files
from saml.models.checkpoints.foreign import Foreign, foreign_names
from saml.runtime.errors import SamlError

HUB = "hf://"
_NAME = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^@]+))?")
_SECONDS = 10.0  # to wait for the hub's first answer
_COPY = (
    "where there is no network, run `saml doctor` first on a machine that has one and the same cache, or "
    "copy the model's folder here and name that"
)


class _NotCached(Exception):
    """A file that is not in the cache, and may be one of the model; its name."""


def is_hub_name(named: str) -> bool:
    """Whether `named` is `<owner>/<name>[@<revision>]`, as models on the hub are called."""
    return _NAME.fullmatch(named) is not None


def hub_checkpoint(named: str, *, fetch: bool, own_vocabulary: bool) -> Path:
    """The folder of `named`, `hf://<owner>/<name>[@<revision>]`, with every file that is read of it.

    Where all of them are in the cache, no request is made; others are downloaded if `fetch`.

    Raises SamlError, saying which file is missing and what to do, where one cannot be had, and where the
    model is no checkpoint.
    """
    # Imported here for start-up: the workflow asks whether a base is given, and needs no hub.
    from huggingface_hub import constants

    match = _NAME.fullmatch(named.removeprefix(HUB))
    if match is None:
        raise SamlError(f"{named} is not {HUB}<owner>/<name>[@<revision>]")
    repo, revision = match["repo"], match["revision"]
    names = _cached_names(repo, revision)
    cached = _in_cache(repo, revision, names)
    try:
        return find_files(cached, own_vocabulary=own_vocabulary)[0].parent
    except _NotCached as error:
        missing = str(error)
    except Lacking as error:
        raise _lacking(named, error, foreign_names(names, cached)) from None
    if constants.HF_HUB_OFFLINE and fetch:
        raise SamlError(
            f"{named}: {missing} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE (or "
            f"TRANSFORMERS_OFFLINE) is set in your environment, so nothing is downloaded; unset it; {_COPY}"
        )
    if not fetch:
        raise SamlError(f"{named} is not downloaded yet: {missing} is not in the cache")
    return _downloaded(named, repo, revision, missing, own_vocabulary=own_vocabulary)


def cache_of(checkpoint: Path) -> Path | None:
    """The folder of the hub's cache that holds a checkpoint's files; None where it lies elsewhere."""
    folders = checkpoint.parents
    return folders[1] if len(folders) > 1 and folders[0].name == "snapshots" else None


def _cached_names(repo: str, revision: str | None) -> set[str]:
    """The names of a model's files as the cache has them; none where that is not known.

    Other programs that fill the cache need not leave a list. Weights in CTranslate2's format were fetched by
    one that reads no other, so the rest of the model is what lies beside them.
    """
    from huggingface_hub import get_cached_repo_tree, try_to_load_from_cache
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return {file.path for file in get_cached_repo_tree(repo, revision=revision)}
    except CachedRepoTreeNotFoundError:
        weights = try_to_load_from_cache(repo, CTRANSLATE2, revision=revision)
        if not isinstance(weights, str):
            return set()
        return {CONFIG, TOKENIZER, *(path.name for path in Path(weights).parent.iterdir())}


def _in_cache(repo: str, revision: str | None, names: Collection[str]) -> Find:
    """Finds files in the cache; `names` are those of the model's files, or none if they are not known.

    Raises _NotCached where a file is not there and the model may have it.
    """
    from huggingface_hub import try_to_load_from_cache

    def find(name: str) -> Path | None:
        found = try_to_load_from_cache(repo, name, revision=revision)
        if isinstance(found, str):
            return Path(found)
        if found is None and (name in names or not names):
            raise _NotCached(name)
        return None

    return find


def _downloaded(named: str, repo: str, revision: str | None, missing: str, *, own_vocabulary: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    wanted = missing

    def find(name: str) -> Path | None:
        nonlocal wanted
        wanted = name
        return get(name)

    try:
        # Asked first, because it fails at once where there is no hub, and has the names of all files.
        info = HfApi().model_info(repo, revision=revision, timeout=_SECONDS)
        names = {file.rfilename for file in info.siblings or []}
        get = _from_hub(repo, info.sha, names)
        if CONFIG in names:
            # Notes in the cache, too, which files there are: later it is known that none is missing.
            snapshot_download(repo, revision=revision, allow_patterns=[CONFIG])
        try:
            return find_files(find, own_vocabulary=own_vocabulary)[0].parent
        except Lacking as error:
            raise _lacking(named, error, foreign_names(names, get)) from None
    except SamlError:
        raise
    except Exception as error:  # of the library, or of its HTTP client, which is another one in each version
        raise SamlError(f"{named}: {_refusal(error, repo, wanted)}") from None


def _lacking(named: str, error: Lacking, kind: Foreign | None) -> SamlError:
    """What to say of a model without a file that it must have: what it is instead, or which file."""
    if error.remedy is not None:
        return SamlError(f"{named} has {error}; {error.remedy}")
    return SamlError(f"{named} {kind or f'has {error}'}")


def _from_hub(repo: str, commit: str | None, names: Collection[str]) -> Find:
    """Finds files, of one commit, by downloading what is not in the cache; `names` are those of all files."""
    from huggingface_hub import hf_hub_download

    def find(name: str) -> Path | None:
        return Path(hf_hub_download(repo, name, revision=commit)) if name in names else None

    return find


def _refusal(error: Exception, repo: str, wanted: str) -> str:
    """Why the file `wanted` was not to be had, and what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        address = f"https://huggingface.co/{repo}"
        return f"its owner restricts access; ask for it at {address}, then `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no such model, or it is private; check the name, or `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return "the model has no such revision; check what follows the @, or leave it out"
    return (
        f"cannot download {wanted} ({_reason(error)}); run the command again, files that are complete are "
        f"kept; {_COPY}"
    )


def _reason(error: Exception) -> str:
    """The first line of what went wrong; where a file was in no cache either, of why it was asked for."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
    lines = str(cause or error).strip().splitlines()
    return (lines or [type(cause or error).__name__])[0].rstrip(". ")
