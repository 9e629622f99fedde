"""bitsandbytes without torch.compile.

Importing it wraps its CPU kernels in torch.compile: that loads the whole compiler (more than torch itself
takes to load), and the first de-quantisation starts a C++ compiler for a kernel that runs once a process.
bitsandbytes falls back to the plain function where compiling is not possible; here it is made to do so, with
the same values.

It also registers its kernels so that torch.compile leaves them alone, for which the first call of one loads
the compiler after all. Here they are registered as what they are.
"""

import importlib
import logging
import sys
from types import ModuleType
from typing import Any

import torch

from saml.compat.garbage import none_expected


def functional() -> ModuleType:
    """The module `bitsandbytes.functional`."""
    if "bitsandbytes" not in sys.modules:
        # On a CPU it warns that it lacks a compiled 4-bit product, which nothing here needs.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        compiler, register = torch.compile, torch.library.register_kernel
        torch.compile = _unavailable
        torch.library.register_kernel = torch.library.impl  # type: ignore[assignment]
        try:
            with none_expected():
                importlib.import_module("bitsandbytes")
        finally:
            torch.compile, torch.library.register_kernel = compiler, register
    return importlib.import_module("bitsandbytes.functional")


def _unavailable(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("torch.compile is not wanted here")
