"""Libraries used on request only, because they have to be built for one exact torch: k2 and icefall."""

import importlib
from types import ModuleType

from saml.compat.torchaudio import ensure
from saml.runtime.errors import SamlError


def load(module: str, setting: str, otherwise: str) -> ModuleType:
    """Import the module that `setting` asks for; `otherwise` is what the setting can say instead.

    Raises:
        SamlError: it is not installed, or cannot be imported beside this torch.
    """
    ensure()  # icefall's modules import torchaudio
    name = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except Exception as error:  # a build for another torch fails in many ways
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise SamlError(
            f"{setting} wants {name}, which cannot be imported ({reason}): environment.yaml says how to get "
            f"it; or say {otherwise}"
        ) from None
