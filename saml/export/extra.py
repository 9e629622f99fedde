"""Libraries that only an export needs."""

import importlib
from types import ModuleType

from saml.runtime.errors import SamlError


def needed(module: str) -> ModuleType:
    """Import a library of `saml[export]`. Raises SamlError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise SamlError(f"this format needs {name} ({error}): pip install 'saml[export]'") from None
