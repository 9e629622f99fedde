"""Download of the real corpora from openslr.org, by lhotse's downloaders.

An interrupted download continues at the next call; unpacking starts again. Complete parts are skipped.
Archives are kept beside the unpacked files (lhotse deletes none) and are not verified with a checksum:
`prepare-corpus` reads every file that it uses to its end.
"""

import gzip
import logging
import shutil
import tarfile
import urllib.error
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lhotse.recipes import librispeech as librispeech_recipe
from lhotse.recipes import tedlium as tedlium_recipe

from saml.corpora import librispeech, tedlium3
from saml.runtime.errors import SamlError

# Gigabytes (10^9 bytes) of each archive; the unpacked files need about the same again.
LIBRISPEECH_PARTS = {
    "dev-clean": 0.34,
    "dev-other": 0.32,
    "test-clean": 0.35,
    "test-other": 0.33,
    "train-clean-100": 6.4,
    "train-clean-360": 23.1,
    "train-other-500": 30.6,
}
TEDLIUM3_GB = 54.0
OPENSLR = "http://www.openslr.org/resources"


def download_librispeech(root: Path, parts: Sequence[str], base_url: str = OPENSLR) -> None:
    """Download parts of LibriSpeech and unpack them to `root`/LibriSpeech.

    Raises SamlError for a part that does not exist, too little disk space, or an interrupted download.
    """
    for part in parts:
        if part not in LIBRISPEECH_PARTS:
            raise SamlError(
                f"--parts: LibriSpeech has no part {part!r}; choose from {', '.join(LIBRISPEECH_PARTS)}"
            )
    above = root.parent if root.name == librispeech.ARCHIVE else root
    folder = above / librispeech.ARCHIVE
    missing = {part: LIBRISPEECH_PARTS[part] for part in parts if not _complete(folder / part)}
    archives = {above / f"{part}.tar.gz": folder / part for part in missing}
    _refuse_scant_space(above, sum(missing.values()), archives)
    _run(
        lambda: librispeech_recipe.download_librispeech(above, dataset_parts=list(parts), base_url=base_url),
        archives,
    )
    print(f"LibriSpeech's {', '.join(parts)} in {folder}; export {librispeech.ROOT_VARIABLE}={above}")


def download_tedlium3(root: Path) -> None:
    """Download TED-LIUM 3 and unpack it to `root`/TEDLIUM_release-3.

    Raises SamlError for too little disk space or an interrupted download.
    """
    above = root.parent if root.name == tedlium3.ARCHIVE else root
    folder = above / tedlium3.ARCHIVE
    archives = {above / f"{tedlium3.ARCHIVE}.tgz": folder}
    _refuse_scant_space(above, 0.0 if _complete(folder) else TEDLIUM3_GB, archives)
    _run(lambda: tedlium_recipe.download_tedlium(above), archives)
    print(f"TED-LIUM 3 in {folder}; export {tedlium3.ROOT_VARIABLE}={above}")


def _complete(folder: Path) -> bool:
    """Whether lhotse has unpacked this completely."""
    return (folder / ".completed").is_file()


def _refuse_scant_space(root: Path, gigabytes: float, archives: Iterable[Path]) -> None:
    """Check the disk space for `gigabytes` of archives, of which some may exist, and as much unpacked."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SamlError(f"--root: cannot make the folder {root} ({error.strerror})") from None
    there = sum(path.stat().st_size for path in archives if path.is_file())
    needed, free = 2 * gigabytes * 1e9 - there, shutil.disk_usage(root).free
    if needed > free:
        raise SamlError(
            f"--root: {root} has {free / 1e9:.1f} GB free, and the archives and their contents need "
            f"{needed / 1e9:.1f} GB; choose another folder, or fewer parts"
        )


def _run(download: Callable[[], object], archives: Mapping[Path, Path]) -> None:
    """Run lhotse's `download`, which unpacks each of `archives` to its folder; its errors as SamlError."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        download()
    except urllib.error.HTTPError as error:
        raise SamlError(
            f"download: {error.url} returns {error.code} ({error.reason}); try again later"
        ) from None
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise SamlError(f"download: interrupted ({reason}); the same command continues it") from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError):
        broken = next(path for path, folder in archives.items() if not _complete(folder))
        raise SamlError(f"download: {broken} cannot be unpacked; delete it and download again") from None
