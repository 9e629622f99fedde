"""The folder of what is made once for a user, whatever the folder that a command is started in."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/saml, else ~/.cache/saml: imported models, laid out as results of experiments."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "saml"
