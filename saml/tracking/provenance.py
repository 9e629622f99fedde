"""The origin of a result: the revision of the code and the versions of the libraries."""

import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

# Module name to distribution name of the libraries that can change a number.
LIBRARIES = {
    "torch": "torch",
    "torchaudio": "torchaudio",
    "bitsandbytes": "bitsandbytes",
    "transformers": "transformers",
    "lhotse": "lhotse",
    "numpy": "numpy",
    "safetensors": "safetensors",
    "soundfile": "soundfile",
    "espeakng_loader": "espeakng-loader",
    "jiwer": "jiwer",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "sklearn": "scikit-learn",
    "k2": "k2",
}


@functools.cache
def git_revision() -> str | None:
    """The revision of the checkout from which this `saml` runs, or None; `-dirty` marks a changed checkout.

    None too for a `saml` that is installed inside another project's checkout.
    """
    root = Path(__file__).resolve().parents[2]
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:
        return None
    return _git(root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of git, or None without git, repository or commit, or after a timeout."""
    # Without optional locks, concurrent jobs do not compete for the index.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def loaded_versions() -> dict[str, str]:
    """Versions of Python and of the libraries loaded in this process."""
    versions = {"python": platform.python_version()}
    for module, distribution in LIBRARIES.items():
        if module in sys.modules:
            try:
                versions[distribution] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                versions[distribution] = str(getattr(sys.modules[module], "__version__", "unknown"))
    return versions
