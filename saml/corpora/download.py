"""Getting the real corpora, by lhotse's downloaders from openslr.org.

An archive whose download broke off goes on where it stopped, on the next call; unpacking starts afresh. What
is complete is left alone. Archives stay beside what they unpack to (lhotse deletes none) and are not compared
with a checksum: `prepare-corpus` reads every file that it uses to its end.
"""

import gzip
import logging
import shutil
import tarfile
import urllib.error
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from saml.runtime.errors import SamlError

# Gigabytes (10^9) of each archive; unpacked it takes about as much again.
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

    Raises SamlError for a part that does not exist, too little space, or a download that breaks off.
    """
    from lhotse.recipes.librispeech import download_librispeech as download

    from saml.corpora.librispeech import ARCHIVE

    for part in parts:
        if part not in LIBRISPEECH_PARTS:
            raise SamlError(f"--parts: LibriSpeech has no part {part!r}; take {', '.join(LIBRISPEECH_PARTS)}")
    above = root.parent if root.name == ARCHIVE else root
    missing = {part: LIBRISPEECH_PARTS[part] for part in parts if not _complete(above / ARCHIVE / part)}
    archives = {above / f"{part}.tar.gz": above / ARCHIVE / part for part in missing}
    _refuse_scant_space(above, sum(missing.values()), archives)
    _run(lambda: download(above, dataset_parts=list(parts), base_url=base_url), archives)
    print(f"LibriSpeech's {', '.join(parts)} in {above / ARCHIVE}; export SAML_LIBRISPEECH_ROOT={above}")


def download_tedlium3(root: Path) -> None:
    """Download TED-LIUM 3 and unpack it to `root`/TEDLIUM_release-3.

    Raises SamlError for too little space, or a download that breaks off.
    """
    from lhotse.recipes.tedlium import download_tedlium as download

    from saml.corpora.tedlium3 import ARCHIVE

    above = root.parent if root.name == ARCHIVE else root
    archives = {above / f"{ARCHIVE}.tgz": above / ARCHIVE}
    _refuse_scant_space(above, 0.0 if _complete(above / ARCHIVE) else TEDLIUM3_GB, archives)
    _run(lambda: download(above), archives)
    print(f"TED-LIUM 3 in {above / ARCHIVE}; export SAML_TEDLIUM_ROOT={above}")


def _complete(folder: Path) -> bool:
    """Whether lhotse has unpacked this to its end."""
    return (folder / ".completed").is_file()


def _refuse_scant_space(root: Path, gigabytes: float, archives: Iterable[Path]) -> None:
    """`gigabytes` of archives, of which some may be there, and as much unpacked must have room."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SamlError(f"--root: cannot make the folder {root} ({error.strerror})") from None
    there = sum(path.stat().st_size for path in archives if path.is_file())
    needed, free = 2 * gigabytes * 1e9 - there, shutil.disk_usage(root).free
    if needed > free:
        raise SamlError(
            f"--root: {root} has {free / 1e9:.1f} GB free, and archives with what is in them need "
            f"{needed / 1e9:.1f} GB more; choose another folder, or fewer parts"
        )


def _run(download: Callable[[], object], archives: Mapping[Path, Path]) -> None:
    """Let lhotse download `archives` and unpack each to its folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        download()
    except urllib.error.HTTPError as error:
        raise SamlError(f"download: {error.url} answers {error.code} ({error.reason}); try later") from None
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise SamlError(
            f"download: it broke off ({reason}); the same command goes on where it stopped"
        ) from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError):
        broken = next(path for path, folder in archives.items() if not _complete(folder))
        raise SamlError(f"download: {broken} cannot be unpacked; delete it and start again") from None
