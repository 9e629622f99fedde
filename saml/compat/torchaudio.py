"""torchaudio where its compiled extension cannot be loaded.

PyPI's torchaudio is built for CUDA: beside a CPU-only torch `import torchaudio` raises OSError, because its
extension wants a CUDA library. transformers and peft import torchaudio wherever it is installed, so they
fail with it. The Python part (spectrograms, resampling) needs no extension: a stub in the extension's place
is enough.

Call `ensure()` before the first import of torchaudio, transformers, peft or lhotse's augmentation.
"""

import importlib
import sys
from types import ModuleType

_EXTENSION = "torchaudio._extension"


def ensure() -> bool:
    """Make `import torchaudio` work; true where it is installed.

    Harmless to call again. Where torchaudio loads as it is (a torch built for CUDA), nothing is changed;
    where it is not installed, transformers does without it and so does everything but `saml.features`.
    """
    if "torchaudio" in sys.modules:
        return True
    try:
        importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        if error.name != "torchaudio":
            raise
        return False
    except OSError:
        # The failed attempt leaves half-loaded submodules behind, which would be found again instead of
        # being loaded.
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules[_EXTENSION] = _stub()
        importlib.import_module("torchaudio")
    return True


def _stub() -> ModuleType:
    """What torchaudio itself sees when it was built without its extension."""
    stub = ModuleType(_EXTENSION)
    vars(stub).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        _load_lib=lambda name: False,
        fail_if_no_align=lambda function: function,
    )
    return stub
